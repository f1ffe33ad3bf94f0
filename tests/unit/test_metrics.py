"""Metrics: what is counted, over all workers, under labels of a closed vocabulary."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vault_service.adapters.telemetry.metrics import Metrics
from vault_service.adapters.telemetry.workers import VARIABLE, share_metrics

_WORKER = """
import sys
from vault_service.adapters.telemetry.metrics import Metrics
metrics = Metrics()
metrics.request("/v1/tokenize", "POST", 200, 0.002)
metrics.items("tokenize", "pan", "ok", 1000)
metrics.committed(3, 4)
print("counted", flush=True)
sys.stdin.read()
"""
_SCRAPE = """
from vault_service.adapters.telemetry.metrics import Metrics
print(Metrics().render()[0].decode())
"""


def sample(page: str, name: str, **labels: str) -> float:
    """The value of the one sample with this name and these labels."""
    found = []
    for line in page.splitlines():
        match = re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? ([^ ]+)", line)
        if match and match[1] == name:
            given = dict(re.findall(r'(\w+)="([^"]*)"', match[2] or ""))
            if given == labels:
                found.append(float(match[3]))
    assert len(found) == 1, (name, labels)
    return found[0]


def test_everything_is_counted() -> None:
    metrics = Metrics()
    metrics.request("/v1/tokens/{token}", "GET", 404, 0.002)
    metrics.request("/v1/tokens/{token}", "GET", 410, 0.004)
    metrics.items("detokenize", "pan", "ok", 7)
    metrics.items("detokenize", None, "not_found", 2)
    metrics.authentication_failed("api_key")
    metrics.decision("detokenize", False)
    metrics.kms_call("decrypt", "key_unavailable", 0.5)
    metrics.audit_appended(0.003)
    metrics.committed(5, 9)
    body, media_type = metrics.render()
    page = body.decode()
    assert media_type.startswith("text/plain")
    route = {"route": "/v1/tokens/{token}", "method": "GET", "status": "4xx"}
    assert sample(page, "strongroom_request_seconds_count", **route) == 2
    assert sample(page, "strongroom_request_seconds_bucket", **route, le="0.0025") == 1
    items = {"action": "detokenize", "data_class": "pan", "outcome": "ok"}
    assert sample(page, "strongroom_items_total", **items) == 7
    unknown = {"action": "detokenize", "data_class": "none", "outcome": "not_found"}
    assert sample(page, "strongroom_items_total", **unknown) == 2
    assert sample(page, "strongroom_authentication_failures_total", method="api_key") == 1
    denied = {"action": "detokenize", "decision": "deny"}
    assert sample(page, "strongroom_policy_decisions_total", **denied) == 1
    kms = {"operation": "decrypt", "outcome": "key_unavailable"}
    assert sample(page, "strongroom_kms_seconds_count", **kms) == 1
    assert sample(page, "strongroom_audit_append_seconds_count") == 1
    assert sample(page, "strongroom_commit_batch_size_sum") == 5
    assert sample(page, "strongroom_commit_queue_depth") == 9


@pytest.mark.parametrize(
    "label", ["4111111111111111", "a@example.com x", 'pan"}', "a" * 65, "", "tok\n"]
)
def test_label_from_outside_becomes_other(label: str) -> None:
    # OWASP ASVS 5 16.2.5
    metrics = Metrics()
    metrics.items("tokenize", label, "ok", 1)
    metrics.request(label, "GET", 200, 0.1)
    page = metrics.render()[0].decode()
    if label:
        assert label not in page
        other = {"action": "tokenize", "data_class": "other", "outcome": "ok"}
        assert sample(page, "strongroom_items_total", **other) == 1
    assert 'route="other"' in page


def test_number_of_series_is_bounded() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.items("tokenize", f"class_{number}", "ok", 1)
    page = metrics.render()[0].decode()
    series = [line for line in page.splitlines() if line.startswith("strongroom_items_total{")]
    assert len(series) <= 501
    assert sum(float(line.rsplit(" ", 1)[1]) for line in series) == 3000


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Set first, so that it is taken back: what a test sets for others to inherit lingers.
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    folder = share_metrics(tmp_path)
    yield folder
    shutil.rmtree(folder)


def start_worker() -> subprocess.Popen[bytes]:
    worker = subprocess.Popen(
        [sys.executable, "-c", _WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == b"counted\n"
    return worker


def scrape() -> str:
    return subprocess.run(
        [sys.executable, "-c", _SCRAPE], capture_output=True, check=True, encoding="utf-8"
    ).stdout


def test_workers_count_together_and_the_dead_keep_their_counts(shared: Path) -> None:
    assert shared.stat().st_mode & 0o777 == 0o700
    items = {"action": "tokenize", "data_class": "pan", "outcome": "ok"}
    with start_worker() as first, start_worker() as second:
        page = scrape()
        assert sample(page, "strongroom_items_total", **items) == 2000
        assert sample(page, "strongroom_commit_queue_depth") == 8
        first.kill()
        first.wait()
        page = scrape()
        assert sample(page, "strongroom_items_total", **items) == 2000
        assert sample(page, "strongroom_commit_queue_depth") == 4
        second.kill()
