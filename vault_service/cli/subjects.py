"""``strongroom subject``: what the vault knows of one person."""

import json
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from vault_service.cli.operation import operator, stop, with_services
from vault_service.domain.access import Action
from vault_service.domain.errors import VaultError
from vault_service.domain.metadata import check_text

if TYPE_CHECKING:
    from vault_service.bootstrap import Services
    from vault_service.services.timeline import TimelineEntry

app = typer.Typer(help="See who handled a person's data.", no_args_is_help=True)


@app.command()
def timeline(
    subject: Annotated[str, typer.Argument(help="The person's id, as it was tokenized with.")],
    tenant: Annotated[str | None, typer.Option(help="Only this tenant.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Show who handled the person's data, when, why, in which form and by which policy,
    oldest first. Holds no values. Reading it is recorded too."""
    try:
        check_text(subject, "subject")
    except VaultError as error:
        stop(error.detail)
    found = with_services(lambda services: _entries(services, subject, tenant))
    if as_json:
        typer.echo(json.dumps({"subject": subject, "entries": found}, indent=2, ensure_ascii=False))
        return
    if not found:
        typer.echo("Nothing is recorded about this subject.")
    for entry in found:
        typer.echo(told(entry))


async def _entries(services: "Services", subject: str, tenant: str | None) -> list[dict[str, Any]]:
    from vault_service.adapters.postgres.subject_log import PostgresSubjectLog
    from vault_service.services.timeline import VIEW, read

    if tenant is not None and tenant not in services.tenants:
        stop("There is no such tenant; policies/principals.yml names them.")
    log = PostgresSubjectLog(services.database)
    found: list[tuple[int, str, TimelineEntry]] = []
    for name in [tenant] if tenant is not None else services.tenants:
        entries = await read(log, name, subject, None)
        found += [(position, name, entry) for position, entry in entries]
        # PCI-DSS 10.2.1.3: access to the log is in the log, before anything is shown.
        await services.application.store.append(
            services.recorder.system_event(
                Action.READ_AUDIT.value,
                principal=f"operator:{operator()}",
                tenant=name,
                detail={"view": VIEW, "subject": subject, "events": len(entries)},
            )
        )
    return [
        {"tenant": name, **msgspec.to_builtins(entry)}
        for _, name, entry in sorted(found, key=lambda each: each[0])
    ]


def told(entry: dict[str, Any]) -> str:
    """An entry in one line: when, how it ended, who, what, why, by which policy, and where
    it came from."""
    what = " ".join(
        [
            f"{len(entry['tokens'])}",
            "/".join(entry["data_classes"]),
            "/".join(entry["forms"]),
        ]
    )
    words = [
        f"{entry['time'][:19]}Z",
        f"{entry['outcome']:<7}",
        f"{entry['tenant']}/{entry['principal'] or 'unknown'}",
        entry["action"],
        what.rstrip(),
    ]
    for label, name in (("for", "purpose"), ("case", "case")):
        if entry[name] is not None:
            words.append(f"{label} {entry[name]}")
    if entry["policies"]:
        words.append("by " + ", ".join(entry["policies"]))
    words += [f"request {entry['request_id']}", entry["event_id"]]
    line = "  ".join(words)
    return "".join(character if character.isprintable() else "?" for character in line)
