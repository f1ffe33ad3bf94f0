"""``strongroom key``: what data keys there are, and new ones in their place."""

import json
from collections.abc import Sequence
from datetime import UTC
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from vault_service.cli.operation import operator, with_services
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import KeyPurpose, KeyState, StoredKey

if TYPE_CHECKING:
    from vault_service.bootstrap import Services

app = typer.Typer(help="List and rotate data keys.", no_args_is_help=True)

AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
_COLUMNS: Final = ("id", "tenant", "data_class", "purpose", "epoch", "state", "uses", "created_at")


@app.command("list")
def list_keys(
    tenant: Annotated[str | None, typer.Option(help="Only the keys of this tenant.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the data keys: their epochs, states, uses and wrapping keys; never the keys."""
    keys = with_services(lambda services: find_keys(services, tenant))
    rows = [described(key) for key in keys]
    typer.echo(json.dumps(rows, indent=2) if as_json else as_table(rows))


@app.command()
def rotate(
    tenant: Annotated[str | None, typer.Option(help="Only the keys of this tenant.")] = None,
    data_class: Annotated[
        list[str] | None,
        typer.Option(help="A data class; may be repeated. Without: every class that has a key."),
    ] = None,
    purpose: Annotated[
        KeyPurpose, typer.Option(help="Only record keys can be rotated yet.")
    ] = KeyPurpose.RECORD,
    as_json: AsJson = False,
) -> None:
    """Make new data keys for the values to come; the old keys still read the old values.

    Running services use the new keys within a second.
    """
    done = with_services(lambda services: rotate_keys(services, tenant, data_class or (), purpose))
    if as_json:
        typer.echo(json.dumps(done, indent=2))
    elif not done:
        typer.echo("There is no key to rotate yet: keys are made when they are first needed.")
    for change in () if as_json else done:
        typer.echo(_told(change))


async def find_keys(services: "Services", tenant: str | None) -> list[StoredKey]:
    """The keys of one tenant, or of all, in a stable order."""
    keys: list[StoredKey] = []
    for name in _tenants(services, tenant):
        keys.extend(await services.keyring.list(name))
    return keys


async def rotate_keys(
    services: "Services", tenant: str | None, data_classes: Sequence[str], purpose: KeyPurpose
) -> list[dict[str, Any]]:
    """Rotate the keys of the named classes, or of all that have a key; for each, its old
    (or ``None``) and new epoch and key id."""
    done: list[dict[str, Any]] = []
    for name in _tenants(services, tenant):
        active = {
            key.data_class: key
            for key in await services.keyring.list(name)
            if key.purpose is purpose and key.state is KeyState.ACTIVE
        }
        for class_name in data_classes or sorted(active):
            old = active.get(class_name)
            new = await services.keyring.rotate(
                name,
                services.catalog.data_class(class_name),
                purpose,
                principal=f"operator:{operator()}",
            )
            done.append(
                {
                    "tenant": name,
                    "data_class": class_name,
                    "purpose": purpose.value,
                    "old": None if old is None else {"id": old.id, "epoch": old.epoch},
                    "new": {"id": new.id, "epoch": new.epoch},
                }
            )
    return done


def described(key: StoredKey) -> dict[str, Any]:
    """What may be shown of a key: everything but the wrapped key. Times are in UTC."""
    return {
        "id": key.id,
        "tenant": key.tenant,
        "data_class": key.data_class,
        "purpose": key.purpose.value,
        "epoch": key.epoch,
        "state": key.state.value,
        "uses": key.uses,
        "created_at": key.created_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "wrapper": key.wrapper,
        "wrapped_by": key.wrapped_by,
    }


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """The rows under a heading, in columns as wide as they need to be."""
    if not rows:
        return "There are no data keys yet: they are made when they are first needed."
    lines = [_COLUMNS, *(tuple(str(row[name]) for name in _COLUMNS) for row in rows)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_COLUMNS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _told(change: dict[str, Any]) -> str:
    old, new = change["old"], change["new"]
    before = "no key" if old is None else f"epoch {old['epoch']} (key {old['id']})"
    return (
        f"{change['tenant']} {change['data_class']}: {before}"
        f" -> epoch {new['epoch']} (key {new['id']})"
    )


def _tenants(services: "Services", tenant: str | None) -> Sequence[str]:
    if tenant is None:
        return sorted(services.tenants)
    if tenant not in services.tenants:
        raise VaultError(
            Code.NOT_FOUND, "There is no such tenant; policies/principals.yml names them."
        )
    return [tenant]
