"""The vault as one run may read it, in memory: meets ``reporting_jobs.context.RunVault``.

As the service does, it refuses (``access_denied``) classes and forms that the definition does
not declare, and gives tokens page by page. ``reads`` is what was read, ``pages`` how many
pages of tokens were given out.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from reporting_jobs.context import Context, HeldPolicy, Holding, Output, Rights, TokenEntry
from reporting_jobs.definitions import definitions, maker
from tests.bundles import KEY, SealedLog
from vault_service.adapters.cedar import CedarEngine
from vault_service.adapters.policy_files import load_bundle
from vault_service.client.errors import RequestRefused
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes
from vault_service.domain.masking import reveal_form
from vault_service.domain.reports import ReportDefinition

BUNDLE: Final = load_bundle(Path(__file__).parents[2] / "policies", None)
NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
RUN: Final = "run_" + "0" * 26


@dataclass(slots=True)
class Stored:
    """A value and whose it is."""

    data_class: str
    value: str = field(repr=False)
    subjects: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None


class FakeRunVault:
    """Values, a log and an inventory for one run."""

    def __init__(self, report: str, *, page: int = 1000) -> None:
        self.definition: ReportDefinition = definitions()[report]
        self.stored: dict[str, Stored] = {}
        self.log: list[AuditEvent] = []
        self.sealed: SealedLog | None = None
        self.unsealed: list[AuditEvent] = []
        self.holdings: list[Holding] = []
        self.data_classes = dict(BUNDLE.catalog.data_classes)
        self.reads: set[tuple[str, str]] = set()
        self.pages = 0
        self._page = page
        self._declared = {(each.data_class, each.form) for each in self.definition.reads}

    def store(
        self,
        data_class: str,
        value: str,
        *subjects: str,
        created_at: datetime = NOW - timedelta(days=10),
        expires_at: datetime | None = None,
    ) -> str:
        """Keep a value; its token."""
        token = f"tok_{data_class}_{len(self.stored):026}"
        self.stored[token] = Stored(data_class, value, subjects, created_at, expires_at)
        return token

    def record(
        self,
        action: str,
        *groups: EventGroup,
        at: datetime = NOW - timedelta(days=1),
        principal: str | None = "crm",
        **fields: Any,
    ) -> AuditEvent:
        """Put an event into the log."""
        event = AuditEvent(
            id=f"evt_{len(self.log):026}",
            occurred_at=at,
            tenant="main",
            principal=principal,
            action=action,
            outcome=groups[0].outcome if groups else "ok",
            request_id="req",
            policy_hash=BUNDLE.hash,
            groups=groups,
            **fields,
        )
        self.log.append(event)
        return event

    def tokens(
        self,
        data_class: str,
        *,
        subjects: Sequence[str] | None = None,
        among: Sequence[str] | None = None,
        overdue: bool = False,
    ) -> Iterator[Sequence[TokenEntry]]:
        if data_class not in self.definition.data_classes:
            raise _denied()
        self.reads.add((data_class, "tokens"))
        wanted = None if subjects is None else set(subjects)
        found: list[TokenEntry] = []
        for token, stored in list(self.stored.items()):
            if stored.data_class != data_class or (among is not None and token not in set(among)):
                continue
            if overdue and not self._overdue(stored):
                continue
            people: Sequence[str | None] = stored.subjects or (None,)
            if wanted is not None:
                people = [each for each in people if each in wanted]
            for subject in people[:1] if overdue else people:
                found.append(
                    TokenEntry(token, data_class, subject, {}, stored.created_at, stored.expires_at)
                )
                if len(found) == self._page:
                    self.pages += 1
                    yield found
                    found = []
        if found:
            self.pages += 1
            yield found

    def reveal(self, tokens: Sequence[str], form: str) -> Sequence[str | None]:
        assert len(tokens) == len(set(tokens)) <= 10_000
        values: list[str | None] = []
        for token in tokens:
            stored = self.stored.get(token)
            data_class = token.removeprefix("tok_").rpartition("_")[0]
            if (data_class, form) not in self._declared:
                raise _denied()
            self.reads.add((data_class, form))
            values.append(None if stored is None else self._shown(stored, form))
        return values

    def delete(self, tokens: Sequence[str]) -> int:
        there = [token for token in tokens if token in self.stored]
        for token in there:
            data_class = self.stored[token].data_class
            if data_class not in self.definition.data_classes:
                raise _denied()
            del self.stored[token]
            self.record(
                "delete_token",
                EventGroup("ok", data_class, tokens=(token,), count=1),
                at=NOW,
                principal=self.definition.job,
                detail={"run": RUN},
            )
        return len(there)

    def rights(self) -> Rights:
        engine = CedarEngine(BUNDLE)
        return Rights(
            BUNDLE.hash,
            [HeldPolicy(each.source, each.body) for each in engine.policies.values()],
            [each for each in BUNDLE.principals.values() if each.tenant == "main"],
        )

    def events(self, **filters: Any) -> Iterator[dict[str, Any]]:
        start, end = filters.pop("from_", None), filters.pop("to", None)
        token, subject = filters.pop("token", None), filters.pop("subject", None)
        for event in sorted(self.log, key=lambda e: e.occurred_at, reverse=True):
            if (
                all(getattr(event, name) == value for name, value in filters.items())
                and (start is None or event.occurred_at >= datetime.fromisoformat(start))
                and (end is None or event.occurred_at < datetime.fromisoformat(end))
                and (token is None or token in event.tokens)
                and (subject is None or subject in event.subjects)
            ):
                yield json.loads(canonical_bytes(event))

    def inventory(self) -> Sequence[Holding]:
        return self.holdings

    def catalog(self) -> Mapping[str, Any]:
        classes = msgspec.to_builtins(self.data_classes, enc_hook=sorted)
        return {"data_classes": classes, "purposes": dict(BUNDLE.catalog.purposes)}

    def export_log(self, *, cursor: int = 0) -> Iterator[bytes]:
        assert self.sealed is not None
        yield from self.sealed.export(first=cursor, scope="all", unsealed=self.unsealed)

    def checkpoint(self) -> str:
        assert self.sealed is not None
        return self.sealed.checkpoint(len(self.sealed.events))

    def verifier_key(self) -> str:
        return KEY.encode()

    def _overdue(self, stored: Stored) -> bool:
        days = self.data_classes[stored.data_class].retention_days
        outlived = days is not None and stored.created_at + timedelta(days=days) <= NOW
        return outlived or (stored.expires_at is not None and stored.expires_at <= NOW)

    def _shown(self, stored: Stored, form: str) -> str:
        return reveal_form(self.data_classes[stored.data_class], form)(stored.value)


def made(
    vault: FakeRunVault,
    *,
    inputs: Mapping[str, Callable[[], BinaryIO]] | None = None,
    row_cap: int | None = None,
    **parameters: Any,
) -> Output:
    """The report with these parameters and the defaults of the others."""
    definition = vault.definition
    complete = {each.name: each.default for each in definition.parameters} | parameters
    assert set(complete) == {each.name for each in definition.parameters}
    context = Context(
        definition=definition,
        parameters=complete,
        period="",
        run_id=RUN,
        now=NOW,
        vault=vault,
        requested_at=NOW - timedelta(hours=1),
        row_cap=row_cap,
        inputs=inputs or {},
    )
    return maker(definition.name)(context)


def table(vault: FakeRunVault, output: Output) -> list[dict[str, Any]]:
    """The rows by column, each held against the definition."""
    names = [column.name for column in vault.definition.columns]
    return [dict(zip(names, row, strict=True)) for row in output.rows]


def _denied() -> RequestRefused:
    return RequestRefused("access_denied", "The definition does not declare that.", status=403)
