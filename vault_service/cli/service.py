"""``strongroom dev``, ``serve`` and ``db``."""

import asyncio
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from vault_service.cli.operation import log_to_stderr, migration_url, stop
from vault_service.domain.errors import Code, ConfigurationError, VaultError

if TYPE_CHECKING:
    from vault_service.settings import Settings

db = typer.Typer(
    no_args_is_help=True, help="Make the database's roles, upgrade its schema, or check it."
)

_T = TypeVar("_T")
AsJson = Annotated[bool, typer.Option("--json", help="Answer in JSON.")]
_MISSING = "The server is not installed; run: pip install 'strongroom[server]'"


def dev(
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port on 127.0.0.1; 0 takes a free one.")
    ] = 8200,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Server processes.")] = 1,
) -> None:
    """Run the service on the embedded database and a local root key, for development.

    Prints the URL when it is ready, logs to standard error, ends with Ctrl-C.
    """
    try:
        from vault_service.cli import serving
        from vault_service.settings import load
    except ImportError:
        stop(_MISSING)
    address = serving.Address("127.0.0.1", port, workers)
    try:
        settings = load()
        if settings.environment == "prod" or not settings.embedded:
            stop(
                "`strongroom dev` runs on the embedded database, outside prod; for"
                " STRONGROOM_ENV=prod or a STRONGROOM_DATABASE_URL use `strongroom serve`."
            )
        listener = serving.bind(address)
        with serving.shared_metrics(workers):
            from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
            from vault_service.bootstrap import configure_logging
            from vault_service.bootstrap_database import migrate_embedded

            configure_logging()
            with EmbeddedPostgres.own(settings.home, bindir=settings.pg_bindir) as server:
                _check_start(settings)
                migrate_embedded(server)
                serving.run(address, listener)
    except ConfigurationError as error:
        stop(str(error))


def serve() -> None:
    """Run the service on the settings of the environment.

    STRONGROOM_HOST, STRONGROOM_PORT and STRONGROOM_WORKERS say where and in how many
    processes; STRONGROOM_ENV=prod refuses everything unsafe. Prints the URL when it is
    ready and logs to standard error.
    """
    try:
        from vault_service.cli import serving
        from vault_service.settings import load
    except ImportError:
        stop(_MISSING)
    try:
        settings = load()
        address = serving.Address(
            settings.host,
            settings.port,
            settings.workers,
            settings.tls_certificate,
            settings.tls_key,
            settings.trusted_proxies,
        )
        listener = serving.bind(address)
        with serving.shared_metrics(address.workers):
            from vault_service.bootstrap import configure_logging
            from vault_service.bootstrap_database import database_access, refuse_logins

            configure_logging()
            database_access(settings)
            _check_start(settings)
            if settings.environment == "prod":
                asyncio.run(refuse_logins(settings))
            serving.run(address, listener)
    except ConfigurationError as error:
        stop(str(error))


def _check_start(settings: "Settings") -> None:
    """Have unusable policies and keys told here, once, before workers start."""
    from vault_service.adapters.cedar import CedarEngine
    from vault_service.adapters.policy_files import load_bundle
    from vault_service.bootstrap import wrappers

    CedarEngine(load_bundle(settings.policy_dir, settings.environment))
    for wrapper in wrappers(settings).values():
        wrapper.close()


@db.command()
def upgrade(as_json: AsJson = False) -> None:
    """Bring the database to this release's schema; harmless where it is there already.

    The login in STRONGROOM_DATABASE_URL is strongroom_migrator where `strongroom db roles`
    was run; else a superuser's, or one that owns the database and has CREATEROLE.
    """

    def bring_up(url: str) -> tuple[str | None, str]:
        from vault_service.adapters.postgres.migrate import upgrade as run_upgrade

        return run_upgrade(url)

    before, after = _on_database(bring_up)
    changed = before != after
    if as_json:
        typer.echo(json.dumps({"before": before, "after": after, "changed": changed}, indent=2))
    else:
        told = f"upgraded from {before or 'nothing'} to {after}" if changed else f"at {after}"
        typer.echo(f"The database is {told}.")


@db.command()
def check(as_json: AsJson = False) -> None:
    """Check that the database has this release's schema. Exit 0: it has; 1: it has not."""

    def revisions(url: str) -> tuple[str | None, str]:
        from vault_service.adapters.postgres.migrate import current_revision, head_revision

        return current_revision(url), head_revision()

    found, wanted = _on_database(revisions)
    current = found == wanted
    if as_json:
        answer = {"current": current, "found": found, "wanted": wanted}
        typer.echo(json.dumps(answer, indent=2))
    elif current:
        typer.echo(f"The database is at {found}, as this release wants it.")
    else:
        typer.echo(
            f"The database is at {found or 'nothing'}, this release wants {wanted};"
            " run: strongroom db upgrade"
        )
    raise typer.Exit(0 if current else 1)


@db.command()
def roles(
    iam: Annotated[
        bool, typer.Option("--iam", help="Logins of RDS that show tokens of IAM.")
    ] = False,
) -> None:
    """Print the SQL that makes the roles and logins; run it before the first upgrade.

    It sets no password and reaches no database.
    """
    try:
        from vault_service.adapters.postgres.roles import script
    except ImportError:
        stop(_MISSING)
    typer.echo(script(iam=iam), nl=False)


def _on_database(work: Callable[[str], _T]) -> _T:
    """What ``work`` makes of the URL that migrates; driver errors end with exit code 2."""
    try:
        from vault_service.adapters.postgres.failures import translated
        from vault_service.settings import load
    except ImportError:
        stop(_MISSING)
    log_to_stderr()
    try:
        with migration_url(load(database_alone=True)) as url, translated():
            return work(url)
    except ConfigurationError as error:
        stop(str(error))
    except VaultError as error:
        if error.code is Code.INTERNAL:
            stop(
                "The database refused. Its login must be strongroom_migrator, with the roles of"
                " `strongroom db roles`, or a superuser's, or own the database and have"
                " CREATEROLE; SQLSTATE 42501 in the line above means it may not."
            )
        stop(error.detail)
