"""What the operator's commands share: the services, who operates, and how to stop."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

from vault_service.domain.errors import ConfigurationError, VaultError

if TYPE_CHECKING:
    from vault_service.adapters.postgres.access import Access
    from vault_service.bootstrap import Services
    from vault_service.settings import Settings

_T = TypeVar("_T")


def with_services(use: Callable[["Services"], Awaitable[_T]]) -> _T:
    """What ``use`` returns, given the services of this environment; exit 2 with the
    reason on standard error where they cannot be had, or refuse.

    Where no database is set, the embedded one serves: the running one, else this
    command owns it until ``use`` is done.
    """
    return with_owner(lambda services, _: use(services))


def with_owner(use: Callable[["Services", "Access"], Awaitable[_T]]) -> _T:
    """As :func:`with_services`, with the login that may migrate as well: with a database
    that is set, the same as the services'."""
    try:
        from vault_service.bootstrap import open_services
        from vault_service.settings import load
    except ImportError:
        stop("The server is not installed; run: pip install 'strongroom[server]'")
    log_to_stderr()

    async def run(settings: "Settings", access: "Access", owner: "Access") -> _T:
        async with open_services(settings, access) as services:
            return await use(services, owner)

    try:
        settings = load()
        with _databases(settings) as (access, owner):
            return asyncio.run(run(settings, access, owner))
    except ConfigurationError as error:
        stop(str(error))
    except VaultError as error:
        stop(error.detail)


@contextmanager
def database(settings: "Settings") -> Iterator["Access"]:
    """The service's way to the database, good within the block. The embedded server is
    started where none runs, and brought to this release's schema."""
    with _databases(settings) as (access, _):
        yield access


@contextmanager
def _databases(settings: "Settings") -> Iterator[tuple["Access", "Access"]]:
    from vault_service.adapters.postgres.access import Access
    from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
    from vault_service.bootstrap_database import database_access, migrate_embedded

    if not settings.embedded:
        # Not guarded: operators also work as the owner, and doctor has to look at what is.
        yield database_access(settings), database_access(settings)
        return
    with EmbeddedPostgres.use(settings.home, bindir=settings.pg_bindir) as server:
        migrate_embedded(server)
        yield Access(server.app_url), Access(server.migrator_url)


@contextmanager
def migration_url(settings: "Settings") -> Iterator[str]:
    """The URL of the connection that may migrate, password included, good within the block;
    the embedded server is started where none runs."""
    from vault_service.adapters.postgres.access import complete_url
    from vault_service.adapters.postgres.embedded.server import EmbeddedPostgres
    from vault_service.bootstrap_database import database_access

    if not settings.embedded:
        yield asyncio.run(complete_url(database_access(settings)))
        return
    with EmbeddedPostgres.use(settings.home, bindir=settings.pg_bindir) as server:
        yield server.migrator_url


def log_to_stderr() -> None:
    """Send log lines to standard error, unless someone decided on them already: standard
    output belongs to the answer, a key is piped from there."""
    import structlog

    if not structlog.is_configured():
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def operator() -> str:
    """The operating system's name of who runs this command, for the audit event.

    Asked of the system by user id: environment variables such as ``USER`` say whatever
    their owner likes (PCI-DSS 10.2.2).
    """
    if not hasattr(os, "getuid"):
        return getpass.getuser()
    import pwd

    uid = os.getuid()
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid-{uid}"


def stop(message: str) -> NoReturn:
    """Say why on standard error and end with exit code 2."""
    typer.echo(message, err=True)
    raise typer.Exit(2)
