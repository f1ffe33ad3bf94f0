"""What a serving process does beside answering: it seals the log, tells how far that is
behind, indexes events, writes last-used times, and removes what has outlived its use."""

import asyncio
import os
import platform
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog

from vault_service import __version__
from vault_service.bootstrap import Services, utc_now
from vault_service.domain.errors import VaultError
from vault_service.services.sealing import ALARMING

_FLUSH_SECONDS = 5.0
_INDEX_SECONDS = 2.0
_TIDY_SECONDS = 600.0
_ALARM_SECONDS = 60.0
_log = structlog.get_logger("strongroom.housekeeping")


@asynccontextmanager
async def housekeeping(services: Services) -> AsyncIterator[None]:
    """Keeps house until the block ends. That the process records, and that it ends, is in
    the log itself (PCI-DSS 10.2.1.6); at the end all that was recorded is sealed."""
    with suppress(VaultError):
        # The first use of a wrapping key loads the Encryption SDK, which takes seconds.
        await services.keyring.probe()
    house = _House(services)
    sealing = asyncio.create_task(services.log.sealer.run())
    keeping = [asyncio.create_task(house.keep()), asyncio.create_task(house.index())]
    try:
        yield
    finally:
        for task in keeping:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        with suppress(VaultError):
            await services.application.authenticator.flush(everything=True)
            await house.tell("stop_audit")
        await services.log.sealer.stop(sealing)


class _House:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._told = False
        self._tidied = time.monotonic()
        self._alarmed = 0.0

    async def keep(self) -> None:
        """Do what is due, again and again. What fails now is done the next time; why it
        failed shows elsewhere."""
        while True:
            with suppress(VaultError):
                if not self._told:
                    await self.tell("start_audit")
                    self._told = True
                await self._services.application.authenticator.flush()
                await self._look_behind()
                if time.monotonic() - self._tidied > _TIDY_SECONDS:
                    await self._tidy()
            await asyncio.sleep(_FLUSH_SECONDS)

    async def index(self) -> None:
        """Index what was recorded, again and again. What fails now is done the next time;
        until then searches look through what is not indexed."""
        while True:
            with suppress(VaultError):
                while await self._services.event_index.extend():
                    pass
            await asyncio.sleep(_INDEX_SECONDS)

    async def tell(self, action: str) -> None:
        """Record that this process begins or ceases to record."""
        event = self._services.recorder.system_event(
            action,
            detail={"host": platform.node(), "process": os.getpid(), "version": __version__},
        )
        await self._services.application.store.append(event)

    async def _look_behind(self) -> None:
        """Tell how far the sealer is behind; loudly, where that is alarming."""
        age = await self._services.application.unsealed()
        self._services.metrics.unsealed(age.total_seconds())
        now = time.monotonic()
        if age > ALARMING and now - self._alarmed > _ALARM_SECONDS:
            _log.critical("audit_unsealed", seconds=int(age.total_seconds()))
            self._alarmed = now

    async def _tidy(self) -> None:
        for tenant in self._services.tenants:
            await self._services.idempotency.forget(tenant, utc_now())
            await self._services.budgets.forget(tenant, utc_now())
        self._tidied = time.monotonic()
