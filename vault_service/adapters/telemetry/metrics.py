"""Prometheus metrics, cheap enough for every request.

A label's value is a name of the contract or the catalog. Should anything else arrive, it
becomes ``other``, and so does whatever comes after the first few hundred combinations, so
that neither a value nor an unbounded number of series gets out (OWASP ASVS 5 16.2.5).
Updating a known combination is one dictionary lookup and one addition (about a
microsecond; two for a histogram).
"""

import os
import re
from typing import Final, Generic, TypeVar

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from vault_service.adapters.telemetry.workers import shared_folder
from vault_service.domain.detection import looks_like_card_number

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
_MAX_CHILDREN: Final = 500
_LABEL: Final = re.compile(r"[A-Za-z0-9_./{}:-]{1,64}")
_OTHER: Final = "other"
_LIVE_FILE: Final = re.compile(r"gauge_live[a-z]*_(\d+)\.db")

M = TypeVar("M", Counter, Histogram)


class Metrics:
    """The counts of one process; with :mod:`workers`, of all workers together."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = _Bounded(
            Histogram(
                "strongroom_request_seconds",
                "Time from a request's head to its answer, by route template.",
                ["route", "method", "status"],
                buckets=_SECONDS,
                registry=registry,
            )
        )
        self._items = _Bounded(
            Counter(
                "strongroom_items_total",
                "Items of batches, by how they ended.",
                ["action", "data_class", "outcome"],
                registry=registry,
            )
        )
        self._authentication_failures = _Bounded(
            Counter(
                "strongroom_authentication_failures_total",
                "Failed attempts, by kind of credential.",
                ["method"],
                registry=registry,
            )
        )
        self._decisions = _Bounded(
            Counter(
                "strongroom_policy_decisions_total",
                "Policy decisions.",
                ["action", "decision"],
                registry=registry,
            )
        )
        self._kms = _Bounded(
            Histogram(
                "strongroom_kms_seconds",
                "Calls to the key service.",
                ["operation", "outcome"],
                buckets=_SECONDS,
                registry=registry,
            )
        )
        self._audit = Histogram(
            "strongroom_audit_append_seconds",
            "Time until an audit event was durable.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "strongroom_commit_batch_size",
            "Requests that shared one transaction.",
            buckets=_SIZES,
            registry=registry,
        )
        self._waiting = Gauge(
            "strongroom_commit_queue_depth",
            "Requests that wait for a transaction.",
            registry=registry,
            multiprocess_mode="livesum",
        )

        self._leaves = Counter(
            "strongroom_audit_leaves_total",
            "Audit events that were sealed.",
            registry=registry,
        )
        self._checkpoints = Counter(
            "strongroom_audit_checkpoints_total",
            "Checkpoints that were signed.",
            registry=registry,
        )
        self._anchor_failures = Counter(
            "strongroom_audit_anchor_failures_total",
            "Times that no copy of a checkpoint could be kept elsewhere.",
            registry=registry,
        )
        self._unsealed = Gauge(
            "strongroom_audit_unsealed_seconds",
            "Age of the oldest audit event that is not sealed; alarming from 300 on.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._broken = Gauge(
            "strongroom_audit_log_broken",
            "1 where the log contradicts what was signed before: call for help.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """A request of a route (its template) was answered."""
        self._requests.of(route, method, f"{status // 100}xx").observe(seconds)

    def items(self, action: str, data_class: str | None, outcome: str, count: int) -> None:
        """So many items of a batch ended alike; ``data_class`` is ``None`` where no class
        is known."""
        self._items.of(action, data_class or "none", outcome).inc(count)

    def authentication_failed(self, method: str) -> None:
        """An attempt with this kind of credential failed."""
        self._authentication_failures.of(method).inc()

    def decision(self, action: str, allowed: bool) -> None:
        """The policies decided once."""
        self._decisions.of(action, "allow" if allowed else "deny").inc()

    def kms_call(self, operation: str, outcome: str, seconds: float) -> None:
        """The key service was called; ``outcome`` is ``ok`` or an error's code."""
        self._kms.of(operation, outcome).observe(seconds)

    def audit_appended(self, seconds: float) -> None:
        """An audit event became durable, so long after it was handed over."""
        self._audit.observe(seconds)

    def committed(self, requests: int, waiting: int) -> None:
        """So many requests shared a transaction, and so many wait for the next."""
        self._batches.observe(requests)
        self._waiting.set(waiting)

    def sealed(self, leaves: int) -> None:
        """So many audit events became leaves of the log."""
        self._leaves.inc(leaves)

    def signed(self) -> None:
        """A checkpoint was signed."""
        self._checkpoints.inc()

    def anchor_failed(self) -> None:
        """No copy of a checkpoint could be kept elsewhere."""
        self._anchor_failures.inc()

    def unsealed(self, seconds: float) -> None:
        """The oldest event that is not sealed is so old; 0 where all are."""
        self._unsealed.set(seconds)

    def log_broken(self, broken: bool) -> None:
        """Whether the log contradicts what was signed before."""
        self._broken.set(broken)

    def render(self) -> tuple[bytes, str]:
        """The metrics page of all workers, and its media type."""
        if shared_folder() is None:
            return generate_latest(self._registry), CONTENT_TYPE_LATEST
        _forget_the_dead()
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST


class _Bounded(Generic[M]):
    """A metric's children by label values, made once and bounded in number."""

    def __init__(self, metric: M) -> None:
        self._metric: M = metric
        self._children: dict[tuple[str, ...], M] = {}

    def of(self, *labels: str) -> M:
        child = self._children.get(labels)
        return child if child is not None else self._make(labels)

    def _make(self, labels: tuple[str, ...]) -> M:
        safe = tuple(label if _harmless(label) else _OTHER for label in labels)
        if safe not in self._children and len(self._children) >= _MAX_CHILDREN:
            safe = (_OTHER,) * len(labels)
        child = self._children.get(safe)
        if child is None:
            child = self._children[safe] = self._metric.labels(*safe)
        return child


def _harmless(label: str) -> bool:
    return _LABEL.fullmatch(label) is not None and not looks_like_card_number(label)


def _forget_the_dead() -> None:
    """Drop the gauges of workers that ended; their counters stay."""
    folder = shared_folder()
    if folder is None:
        return
    for file in folder.iterdir():
        match = _LIVE_FILE.fullmatch(file.name)
        if match and not _alive(int(match[1])):
            multiprocess.mark_process_dead(  # type: ignore[no-untyped-call]
                int(match[1]), str(folder)
            )


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
