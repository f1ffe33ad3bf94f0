"""The ``strongroom`` command: what commands there are, and how each run may end.

Exit codes: 0 done, 1 a check found something, 2 usage or refused; 130 and 143 where the
run was interrupted or told to end. A command's module is imported when the command is
run, so that ``strongroom --help`` is quick and the base install needs no server.
"""

import signal
import sys
from importlib import import_module
from typing import Annotated, Any, Final, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command, get_group

from vault_service import __version__
from vault_service.domain.errors import ConfigurationError, VaultError
from vault_service.memory import forbid_core_dumps


class _Place(NamedTuple):
    module: str
    name: str
    help: str


_COMMANDS: Final = {
    "demo": _Place("demo", "demo", "Show on this machine what Strongroom does, in a minute."),
    "dev": _Place("service", "dev", "Run the service on the embedded default, to develop with."),
    "serve": _Place("service", "serve", "Run the service on the settings of the environment."),
    "db": _Place("service", "db", "Bring the database to this release's schema, or check it."),
    "principal": _Place("principals", "app", "List principals; issue, rotate, revoke API keys."),
    "tokenize": _Place("files", "tokenize", "Replace columns of values in a file by tokens."),
    "detokenize": _Place("files", "detokenize", "Replace columns of tokens in a file by values."),
    "scan": _Place("scan", "scan", "Find card numbers and personal data left in files."),
    "policy": _Place("policy", "app", "Check, test, explain and backtest the access policies."),
    "key": _Place("keys", "app", "List and rotate data keys."),
    "audit": _Place("audit", "app", "Read the audit log."),
    "subject": _Place("subjects", "app", "See who handled a person's data."),
    "report": _Place("reports", "app", "Run, approve and receive reports."),
    "doctor": _Place("doctor", "doctor", "Check this installation and say how to mend it."),
}


class _Commands(TyperGroup):
    """The group of all commands, each imported when it is asked for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._telling = False
        for name, place in _COMMANDS.items():
            self.add_command(TyperCommand(name, help=place.help))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        place = _COMMANDS.get(cmd_name)
        if place is None or self._telling:
            return super().get_command(ctx, cmd_name)
        return _load(cmd_name, place)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self._telling = True
        super().format_help(ctx, formatter)


def _load(name: str, place: _Place) -> Any:
    found = getattr(import_module(f"vault_service.cli.{place.module}"), place.name)
    if isinstance(found, typer.Typer):
        group = get_group(found)
        group.name = name
        return group
    single = typer.Typer(add_completion=False)
    single.command(name)(found)
    return get_command(single)


app = typer.Typer(
    name="strongroom",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _tell_version(asked: bool) -> None:
    if asked:
        typer.echo(f"strongroom {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """A vault for card and personal data: tokens out, values in, every access recorded."""


def main() -> NoReturn:
    """The console entry. Whatever goes wrong ends in one line on standard error: a
    traceback could show values (OWASP ASVS 5 16.5.1)."""
    signal.signal(signal.SIGTERM, _end)
    try:
        forbid_core_dumps()
        get_command(app)(prog_name="strongroom")
    except ConfigurationError as error:
        _refuse(str(error))
    except VaultError as error:
        _refuse(error.detail)
    except ModuleNotFoundError as error:
        _refuse(
            f"The package {error.name} is not installed; run:"
            " pip install 'strongroom[server,warehouse]'"
        )
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # noqa: BLE001  # the last line of defence
        _refuse(f"Unexpected {type(error).__name__} at {_where(error)}.")
    sys.exit(0)


def _end(_signal: int, _frame: object) -> NoReturn:
    """Ends as an exception does, so that a server of our own is stopped on the way."""
    sys.exit(128 + signal.SIGTERM)


def _refuse(message: str) -> NoReturn:
    typer.echo(message, err=True)
    sys.exit(2)


def _where(error: BaseException) -> str:
    place = "an unknown place"
    trace = error.__traceback__
    while trace is not None:
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if module.startswith("vault_service."):
            place = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
