"""``strongroom doctor``: is this installation sound, and if not, how is it mended?"""

import json
from typing import Annotated

import typer

from vault_service.cli.operation import log_to_stderr, stop

_MARKS = {"ok": "ok  ", "warn": "warn", "fail": "FAIL"}


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Answer in JSON.")] = False,
) -> None:
    """Check settings, policies, keys, database, clock, audit, its log and disk space.

    Says how to mend what it finds. Exit 0: sound, though there may be warnings; 1:
    something must be mended.
    """
    try:
        from vault_service.cli.doctor_checks import examine
    except ImportError:
        stop("The server is not installed; run: pip install 'strongroom[server]'")
    log_to_stderr()
    checks = examine()
    failed = sum(check.state == "fail" for check in checks)
    if as_json:
        answer = {"sound": not failed, "checks": [check._asdict() for check in checks]}
        typer.echo(json.dumps(answer, indent=2))
    else:
        for check in checks:
            typer.echo(f"{_MARKS[check.state]}  {check.name:<9} {check.found}")
            if check.mend:
                typer.echo(f"                mend: {check.mend}")
        typer.echo(f"{failed} to mend" if failed else "This installation is sound.")
    raise typer.Exit(1 if failed else 0)
