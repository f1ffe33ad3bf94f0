"""``strongroom principal``: who may call, and the API keys they call with.

Standard output carries what was asked for and nothing else: ``issue-key`` and
``rotate-key`` print the new key alone there, so that it can be piped into a secret
store; everything meant for a person goes to standard error.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vault_service.cli.operation import operator, stop, with_services
from vault_service.domain.credentials import ApiKeyRecord
from vault_service.domain.principals import Principal

if TYPE_CHECKING:
    from vault_service.services.principals import IssuedKey

app = typer.Typer(help="List principals; issue, rotate and revoke API keys.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="A principal's name, as in policies/principals.yml.")]
Days = Annotated[
    int | None,
    typer.Option(min=1, max=90, help="How long the key lives; as long as allowed by default."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]


@app.command("list")
def list_principals(
    name: Annotated[str | None, typer.Argument(help="Only this principal.")] = None,
    as_json: AsJson = False,
) -> None:
    """List principals, how each may authenticate, and their keys (never the keys' text)."""

    async def found(services: Any) -> list[dict[str, Any]]:
        keys = await services.api_keys.list(name)
        return overview(services.principals, keys, name, datetime.now(UTC))

    principals = with_services(found)
    if name is not None and not principals:
        stop("principals.yml declares no principal of this name")
    if as_json:
        typer.echo(json.dumps(principals, indent=2))
        return
    for principal in principals:
        ways = ", ".join(principal["authentication"]) or "no way to authenticate"
        place = f"{principal['type']} of tenant {principal['tenant']}"
        declared = f"{place}; {ways}" if principal["declared"] else "no longer declared"
        typer.echo(f"{principal['name']} ({declared})")
        for key in principal["keys"]:
            used = key["last_used_at"] or "never"
            typer.echo(
                f"  {key['id']}  {key['state']:<7}  created {key['created_at']}"
                f"  expires {key['expires_at']}  last used {used}"
            )


@app.command("issue-key")
def issue_key(name: Name, days: Days = None, as_json: AsJson = False) -> None:
    """Issue a new API key for principal NAME and print it, this once, alone on stdout."""
    _print_key(
        with_services(lambda services: services.api_keys.issue(name, operator(), days=days)),
        as_json,
    )


@app.command("rotate-key")
def rotate_key(
    name: Name,
    days: Days = None,
    overlap_hours: Annotated[
        int, typer.Option(min=0, max=90 * 24, help="How much longer the older keys work.")
    ] = 24,
    as_json: AsJson = False,
) -> None:
    """Issue a new API key for NAME and let its older keys end after an overlap."""
    overlap = timedelta(hours=overlap_hours)
    _print_key(
        with_services(
            lambda services: services.api_keys.rotate(name, operator(), days=days, overlap=overlap)
        ),
        as_json,
    )


@app.command("revoke-key")
def revoke_key(
    key_id: Annotated[
        str, typer.Argument(metavar="ID", help="The key's id: what follows srk_ up to the next _.")
    ],
    as_json: AsJson = False,
) -> None:
    """Revoke the API key ID for good; running services refuse it within seconds."""
    record = with_services(lambda services: services.api_keys.revoke(key_id, operator()))
    if as_json:
        typer.echo(json.dumps(described(record, datetime.now(UTC)), indent=2))
    else:
        typer.echo(f"Key {record.id} of {record.principal} is revoked.", err=True)


def overview(
    principals: Mapping[str, Principal],
    keys: Sequence[ApiKeyRecord],
    name: str | None,
    at: datetime,
) -> list[dict[str, Any]]:
    """Every principal (or the one of that ``name``) with its keys, by name; those that
    have keys but are no longer declared too."""
    found = []
    for each in sorted({*principals, *(key.principal for key in keys)}):
        if name not in (None, each):
            continue
        principal = principals.get(each)
        found.append(
            {
                "name": each,
                "declared": principal is not None,
                "type": None if principal is None else principal.type.value,
                "tenant": None if principal is None else principal.tenant,
                "authentication": [] if principal is None else _ways(principal),
                "keys": [described(key, at) for key in keys if key.principal == each],
            }
        )
    return found


def described(key: ApiKeyRecord, at: datetime) -> dict[str, Any]:
    """What may be shown of a key: everything but its hash. Times are in UTC."""
    state = "active" if key.active(at) else "expired"
    if key.revoked_at is not None:
        state = "revoked"
    return {
        "id": key.id,
        "principal": key.principal,
        "state": state,
        "created_at": _time(key.created_at),
        "expires_at": _time(key.expires_at),
        "last_used_at": _time(key.last_used_at),
        "revoked_at": _time(key.revoked_at),
    }


def _ways(principal: Principal) -> list[str]:
    ways = principal.authentication
    named = {
        "api_key": ways.api_key_max_age_days,
        "oidc": ways.oidc_subject,
        "aws_role": ways.aws_role_arn,
    }
    return [name for name, value in named.items() if value is not None]


def _print_key(issued: "IssuedKey", as_json: bool) -> None:
    record = issued.record
    if as_json:
        answer = {
            "key": issued.secret.reveal(),
            "id": record.id,
            "principal": record.principal,
            "created_at": _time(record.created_at),
            "expires_at": _time(record.expires_at),
            "old_keys": list(issued.shortened),
            "old_keys_end": _time(issued.old_keys_end),
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    typer.echo(
        f"Key {record.id} of {record.principal}, good until {_time(record.expires_at)}."
        " It is shown this once.",
        err=True,
    )
    if issued.shortened:
        typer.echo(
            f"Older keys that end at {_time(issued.old_keys_end)}: {', '.join(issued.shortened)}.",
            err=True,
        )
    typer.echo(issued.secret.reveal())


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
