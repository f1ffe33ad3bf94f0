"""A running vault for the demo: embedded database, local root key, the real service."""

import asyncio
import os
import subprocess  # nosec B404 - starts this program's own service
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from vault_service.cli.operation import database, operator
from vault_service.domain.errors import ConfigurationError

if TYPE_CHECKING:
    from vault_service.adapters.postgres.access import Access
    from vault_service.settings import Settings

_KEPT: Final = ("STRONGROOM_HOME", "STRONGROOM_POLICY_DIR", "STRONGROOM_PG_BINDIR")
_STOP_SECONDS: Final = 40


def demo_environment() -> dict[str, str]:
    """The environment of the demo's service: this one's, on the embedded default."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("STRONGROOM_") or name in _KEPT
    }
    return {
        **inherited,
        "STRONGROOM_ENV": "dev",
        "STRONGROOM_HOST": "127.0.0.1",
        "STRONGROOM_PORT": "0",
        "STRONGROOM_WORKERS": "1",
    }


@dataclass(frozen=True, slots=True)
class RunningVault:
    """A service that is ready at ``url``, and an API key of each principal."""

    url: str
    keys: dict[str, str] = field(repr=False)
    settings: "Settings"
    access: "Access"

    def export_log(self, path: Path) -> None:
        """Write the whole audit log as a bundle, as ``strongroom audit export`` does."""
        asyncio.run(_export(self.settings, self.access, path))


@contextmanager
def running_vault(
    settings: "Settings", log: Path, principals: Sequence[str]
) -> Iterator[RunningVault]:
    """A service and API keys that are good within the block: then the keys are revoked and
    the service is stopped.

    The service logs to ``log``. :class:`ConfigurationError` where it does not start.
    """
    with database(settings) as access, log.open("wb") as stderr:
        process = subprocess.Popen(  # nosec B603
            [sys.executable, "-m", "vault_service", "serve"],
            env=demo_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        try:
            keys = asyncio.run(_issue(settings, access, principals))
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if not line:
                    raise ConfigurationError(f"The service did not start; {log} says why.")
                yield RunningVault(line.split()[-1], keys, settings, access)
            finally:
                asyncio.run(_revoke(settings, access, keys))
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


async def _issue(
    settings: "Settings", access: "Access", principals: Sequence[str]
) -> dict[str, str]:
    from vault_service.bootstrap import open_services

    async with open_services(settings, access) as services:
        issued = {
            name: await services.api_keys.issue(name, operator(), days=1) for name in principals
        }
    return {name: key.secret.reveal() for name, key in issued.items()}


async def _export(settings: "Settings", access: "Access", path: Path) -> None:
    from vault_service.bootstrap import open_services
    from vault_service.cli.audit_export import write_bundle
    from vault_service.services.log_export import Wanted

    async with open_services(settings, access) as services:
        with path.open("wb") as stream:
            await write_bundle(services, Wanted(), None, stream)


async def _revoke(settings: "Settings", access: "Access", keys: dict[str, str]) -> None:
    from vault_service.bootstrap import open_services
    from vault_service.domain.credentials import api_key_id

    async with open_services(settings, access) as services:
        for key in keys.values():
            key_id = api_key_id(key)
            if key_id is not None:
                await services.api_keys.revoke(key_id, operator())
