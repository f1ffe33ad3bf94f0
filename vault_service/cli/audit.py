"""``strongroom audit``: the audit log as an operator reads it, from the database."""

import asyncio
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vault_service.cli.audit_archive import archive
from vault_service.cli.audit_export import checkpoint, export, key, receipt
from vault_service.cli.audit_review import review
from vault_service.cli.audit_verify import verify
from vault_service.cli.operation import operator, stop, with_services
from vault_service.domain.access import Action
from vault_service.domain.errors import VaultError
from vault_service.domain.metadata import check_text
from vault_service.domain.ports import AuditQuery

if TYPE_CHECKING:
    from vault_service.bootstrap import Services

app = typer.Typer(help="Read the audit log.", no_args_is_help=True)
for command in (export, verify, receipt, checkpoint, key, review, archive):
    app.command()(command)

_NO_TENANT: Final = "-"
_PAGE: Final = 1000
_PAUSE_SECONDS: Final = 1.0
_Show = Callable[[Sequence[bytes]], None]
_Found = list[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class _Wanted:
    tenants: Sequence[str]
    principal: str | None
    action: str | None
    token: str | None

    def query(self, tenant: str, limit: int, before: int | None = None) -> AuditQuery:
        return AuditQuery(
            tenant,
            limit,
            principal=self.principal,
            action=self.action,
            token=self.token,
            before=before,
        )


@app.command()
def tail(
    lines: Annotated[
        int, typer.Option("--lines", "-n", min=1, max=_PAGE, help="How many events to begin with.")
    ] = 20,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on with what is recorded from now on.")
    ] = False,
    principal: Annotated[str | None, typer.Option(help="Only events of this principal.")] = None,
    action: Annotated[
        str | None, typer.Option(help="Only this action: tokenize, detokenize, …")
    ] = None,
    token: Annotated[str | None, typer.Option(help="Only events about this token.")] = None,
    tenant: Annotated[
        str | None, typer.Option(help="Only this tenant; - for events of none.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print events as JSON, one a line.")
    ] = False,
) -> None:
    """Show the newest events, oldest first: who did what to which tokens, why, and by
    which policy. Events hold no values. Reading them is recorded too."""
    for name, text in (("principal", principal), ("action", action), ("token", token)):
        try:
            check_text(text or "-", name)
        except VaultError as error:
            stop(error.detail)

    async def run(services: "Services") -> None:
        known = [*services.tenants, _NO_TENANT]
        if tenant is not None and tenant not in known:
            stop("There is no such tenant; policies/principals.yml names them.")
        wanted = _Wanted([tenant] if tenant else known, principal, action, token)
        await _tail(services, wanted, lines, follow, _print_json if as_json else _print_lines)

    with_services(run)


async def _tail(
    services: "Services", wanted: _Wanted, lines: int, follow: bool, show: _Show
) -> None:
    from vault_service.adapters.postgres.audit_reader import PostgresAuditReader

    reader = PostgresAuditReader(services.database)
    found: dict[str, _Found] = {
        tenant: list(await reader.events(wanted.query(tenant, lines))) for tenant in wanted.tenants
    }
    newest = sorted(each for events in found.values() for each in events)[-lines:]
    shown = {position for position, _ in newest}
    for tenant, events in found.items():
        # PCI-DSS 10.2.1.3: access to the log is in the log, before anything is shown.
        await services.application.store.append(
            services.recorder.system_event(
                Action.READ_AUDIT.value,
                principal=f"operator:{operator()}",
                tenant=tenant,
                detail={
                    "events": sum(position in shown for position, _ in events),
                    "follow": follow,
                },
            )
        )
    show([body for _, body in newest])
    follower = _Follower(found)
    while follow:
        await asyncio.sleep(_PAUSE_SECONDS)
        show([body for _, body in sorted(await follower.fresh(reader, wanted))])


class _Follower:
    """Finds the events that were not seen before. Positions are given before events are
    committed, so that a lower one may show up after a higher one."""

    def __init__(self, seen: dict[str, _Found]) -> None:
        self._seen = {tenant: {at for at, _ in events} for tenant, events in seen.items()}
        self._floor = {
            tenant: min(positions, default=0) for tenant, positions in self._seen.items()
        }

    async def fresh(self, reader: Any, wanted: _Wanted) -> _Found:
        """What came since the last call, in no particular order."""
        return [
            event for tenant in wanted.tenants for event in await self._of(reader, wanted, tenant)
        ]

    async def _of(self, reader: Any, wanted: _Wanted, tenant: str) -> _Found:
        seen, floor = self._seen[tenant], self._floor[tenant]
        fresh: _Found = []
        newest: set[int] = set()
        before: int | None = None
        while True:
            page = list(await reader.events(wanted.query(tenant, _PAGE, before)))
            new = [event for event in page if event[0] > floor and event[0] not in seen]
            fresh += new
            if before is None:
                newest = {position for position, _ in page}
            if len(page) < _PAGE or not new:
                break
            before = page[-1][0]
        if len(newest) == _PAGE:
            self._floor[tenant] = min(newest)
        self._seen[tenant] = newest
        return fresh


def _print_json(bodies: Sequence[bytes]) -> None:
    for body in bodies:
        typer.echo(body.decode())


def _print_lines(bodies: Sequence[bytes]) -> None:
    for body in bodies:
        typer.echo(told(json.loads(body)))


def told(event: dict[str, Any]) -> str:
    """An event in one line: when, how it ended, who, what, why, and by which policy."""
    groups = event.get("groups", [])
    words = [
        f"{event['time'][:19]}Z",
        f"{event['outcome']:<7}",
        f"{event['tenant']}/{event.get('principal') or 'unknown'}",
        event["action"],
        ", ".join(_told_group(group) for group in groups[:3]) + (", …" if len(groups) > 3 else ""),
    ]
    detail = event.get("detail", {})
    words += [f"{name} {detail[name]}" for name in ("principal", "key", "key_id") if name in detail]
    for label, name in (("for", "purpose"), ("case", "case"), ("because", "code")):
        if event.get(name) is not None:
            words.append(f"{label} {event[name]}")
    policies = {policy for group in groups for policy in group.get("policies", ())}
    policies.update(detail.get("policies", ()))
    if policies:
        words.append("by " + ", ".join(sorted(policies)))
    words.append(event["id"])
    line = "  ".join(word for word in words if word)
    return "".join(character if character.isprintable() else "?" for character in line)


def _told_group(group: dict[str, Any]) -> str:
    count = group.get("count") or len(group.get("tokens", ())) or 1
    what = " ".join(group[name] for name in ("data_class", "form") if name in group)
    return f"{count} {what}".rstrip() + (f" ({group['code']})" if "code" in group else "")
