"""What the operator's commands share: the services, who operates, and how to stop."""

import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NoReturn, TypeVar

import typer

from vault_service.domain.errors import ConfigurationError, VaultError

if TYPE_CHECKING:
    from vault_service.bootstrap import Services

_T = TypeVar("_T")


def with_services(use: Callable[["Services"], Awaitable[_T]]) -> _T:
    """What ``use`` returns, given the services of this environment; exit 2 with the
    reason on standard error where they cannot be had, or refuse."""
    try:
        import structlog

        from vault_service.bootstrap import open_services
        from vault_service.settings import load
    except ImportError:
        stop("The server is not installed; run: pip install 'strongroom[server]'")
    if not structlog.is_configured():
        # Standard output belongs to the answer: a key is piped from there.
        structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))

    async def run() -> _T:
        async with open_services(load()) as services:
            return await use(services)

    try:
        return asyncio.run(run())
    except ConfigurationError as error:
        stop(str(error))
    except VaultError as error:
        stop(error.detail)


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
