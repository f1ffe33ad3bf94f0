"""``strongroom policy backtest``: what changed policies would have decided otherwise."""

import json
from collections.abc import Iterator
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer

from vault_service.cli.operation import operator, stop, with_services
from vault_service.domain.access import Action
from vault_service.domain.errors import ConfigurationError
from vault_service.services.backtest import Backtest, PolicyDirectory
from vault_service.services.backtest_report import BacktestReport, Change

if TYPE_CHECKING:
    from vault_service.adapters.cedar import CedarEngine
    from vault_service.adapters.policy_case_changes import CaseChange
    from vault_service.bootstrap import Services
    from vault_service.domain.access import Decision

_NO_TENANT: Final = "-"
_VARIABLE: Final = "STRONGROOM_POLICY_DIR"
_FORMATS: Final = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ"]


def backtest(
    new_directory: Annotated[
        Path, typer.Argument(metavar="NEW_POLICY_DIR", help="The changed policy directory.")
    ],
    directory: Annotated[
        Path, typer.Option("--policies", envvar=_VARIABLE, help="The current policy directory.")
    ] = Path("policies"),
    since: Annotated[
        datetime | None,
        typer.Option("--from", formats=_FORMATS, help="Only events from then on, in UTC."),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option("--to", formats=_FORMATS, help="Only events before then, in UTC."),
    ] = None,
    bundle: Annotated[
        Path | None,
        typer.Option(help="Replay this exported bundle, not the events of the database."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Replay recorded decisions against changed policies, catalog and principals: what
    would newly be denied, what newly allowed, and which cases change.

    Reading the database's log is recorded there. Exit 0: nothing changes. 1: something
    does. 2: a directory or the log is unusable.
    """
    current, new = _engine(directory), _engine(new_directory)
    cases = _cases(current, new)
    replay = _backtest(current, new, _utc(since), _utc(until))
    if bundle is not None:
        _replay_bundle(replay, bundle)
    else:
        tenants = {p.tenant for e in (current, new) for p in e.bundle.principals.values()}
        with_services(lambda services: _replay_log(services, replay, tenants, new.bundle_hash))
    report = replay.report()
    changed = report.changed or bool(cases)
    if as_json:
        body = {"changed": changed, **msgspec.to_builtins(report)}
        typer.echo(json.dumps(body | {"cases": msgspec.to_builtins(cases)}, indent=2))
    else:
        typer.echo("\n".join(_told(report, cases)))
    raise typer.Exit(1 if changed else 0)


def _engine(directory: Path) -> "CedarEngine":
    try:
        from vault_service.adapters.cedar import CedarEngine
    except ImportError:
        stop("Cedar is not installed; run: pip install 'strongroom[server]'")
    from vault_service.adapters.policy_files import load_bundle

    try:
        return CedarEngine(load_bundle(directory, None))
    except ConfigurationError as error:
        stop(f"{directory}: {error}")


def _cases(current: "CedarEngine", new: "CedarEngine") -> "list[CaseChange]":
    from vault_service.adapters.policy_case_changes import case_changes

    try:
        return case_changes(current, new)
    except ConfigurationError as error:
        stop(str(error))


def _backtest(
    current: "CedarEngine", new: "CedarEngine", since: datetime | None, until: datetime | None
) -> Backtest:
    from vault_service.adapters.policy_questions import RememberedDecisions

    return Backtest(
        RememberedDecisions(new).decide,
        current=_known(current),
        new=_known(new),
        since=since,
        until=until,
    )


def _known(engine: "CedarEngine") -> PolicyDirectory:
    return PolicyDirectory(
        engine.bundle_hash,
        engine.bundle.catalog,
        engine.bundle.principals,
        {name: policy.body["effect"] for name, policy in engine.policies.items()},
    )


def _utc(at: datetime | None) -> datetime | None:
    return None if at is None else at.replace(tzinfo=UTC)


async def _replay_log(
    services: "Services", replay: Backtest, tenants: set[str], new_hash: str
) -> None:
    from vault_service.adapters.postgres.audit_stream import stream

    for tenant in sorted({*services.tenants, *tenants, _NO_TENANT}):
        count = 0
        events = stream(services.database, tenant, replay.since, replay.until)
        async with aclosing(events):
            async for body in events:
                replay.add(body)
                count += 1
        # PCI-DSS 10.2.1.3: access to the log is in the log, before anything is shown.
        await services.application.store.append(
            services.recorder.system_event(
                Action.READ_AUDIT.value,
                principal=f"operator:{operator()}",
                tenant=tenant,
                detail={"view": "policy_backtest", "events": count, "new_policy_hash": new_hash},
            )
        )


def _replay_bundle(replay: Backtest, path: Path) -> None:
    from vault_service.domain.bundle import Event, Unsealed, Withheld

    try:
        for line in _lines(path):
            if isinstance(line, Event | Unsealed):
                replay.add(line.body)
            elif isinstance(line, Withheld):
                replay.withheld()
    except OSError as error:
        stop(f"{path}: cannot be read: {error.strerror}")


def _lines(path: Path) -> Iterator[Any]:
    from vault_service.domain.bundle import MAX_LINE_BYTES, BundleMalformed, End, Header, decode

    line = None
    with path.open("rb") as file:
        for number, content in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            try:
                line = decode(content)
            except BundleMalformed as error:
                stop(f"{path}: line {number}: {error}; export it again")
            if (number == 1) != isinstance(line, Header):
                stop(f"{path}: line {number}: a bundle has one header, at its beginning")
            yield line
    if not isinstance(line, End):
        stop(f"{path}: the end is missing; export it again")


def _told(report: BacktestReport, cases: "list[CaseChange]") -> list[str]:
    lines = [
        f"{report.events} events: {report.replayed} replayed,"
        f" {report.replayed_in_part} in part, {report.not_replayed} not;"
        f" {report.decisions} decisions"
    ]
    lines += [_told_change(change) for change in report.changes]
    lines += [
        f"{'removed' if each.removed else 'unknown'} principal: {each.tenant}/{each.principal}:"
        f" {each.events} events, decided on what was recorded of it"
        for each in report.absent_principals
    ]
    lines += [
        f"not replayed: {each.reason}: {each.events} events, {each.items} items ({each.meaning})"
        for each in report.unreplayed
    ]
    lines += [_told_case(case) for case in cases]
    if not (report.changed or cases):
        lines.append("Nothing changes.")
    return [_printable(line) for line in lines]


def _told_change(change: Change) -> str:
    what = [change.action, change.data_class, change.form]
    if change.purpose is not None:
        what += ["for", change.purpose]
    counts = f"{change.events} events, {change.items} items, {change.tokens} tokens"
    failing = f", as {', '.join(change.failing_now)} fails" if change.failing_now else ""
    return (
        f"{change.effect.replace('_', ' ')}: {change.tenant}/{change.principal}"
        f" {' '.join(word for word in what if word)}: {counts};"
        f" then by {_named(change.policies_then)}, now by {_named(change.policies_now)}{failing};"
        f" {', '.join(change.event_ids)}"
    )


def _told_case(case: "CaseChange") -> str:
    failing = "; it is not answered as it expects" if case.fails else ""
    return (
        f"case {case.change.replace('_', ' ')}: {case.file}: {case.name}:"
        f" then {_answered(case.then)}, now {_answered(case.now)}{failing}"
    )


def _answered(decision: "Decision | None") -> str:
    if decision is None:
        return "not to be asked"
    return f"{'allow' if decision.allowed else 'deny'} by {_named(decision.policies)}"


def _named(policies: tuple[str, ...]) -> str:
    return ", ".join(policies) or "no policy"


def _printable(line: str) -> str:
    # A bundle comes from elsewhere: nothing in it may steer the terminal.
    return "".join(character if character.isprintable() else "?" for character in line)
