"""Exporting the log for offline verification, as an auditor of one tenant may.

Events of other tenants are shown as hashes alone. That it was exported is recorded before
a line of it is given out (PCI-DSS 10.2.1.3).
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from vault_service.domain.access import Action
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.ports import CheckpointSigner, TokenStore
from vault_service.domain.transparency import LogReader
from vault_service.services import log_export
from vault_service.services.authorize import Authorizer
from vault_service.services.context import RequestContext
from vault_service.services.log_export import Wanted
from vault_service.services.recording import Recorder
from vault_service.services.signed import signed_tree

VIEW: Final = "export"
_AT_ONCE: Final = 2
"""Exports of a process at a time: each has a connection to the database of its own."""


class ExportAudit:
    """The use case. ``origin`` is the log's name."""

    def __init__(
        self,
        authorizer: Authorizer,
        reader: LogReader,
        store: TokenStore,
        recorder: Recorder,
        signer: CheckpointSigner,
        origin: str,
    ) -> None:
        self._authorizer = authorizer
        self._reader = reader
        self._store = store
        self._recorder = recorder
        self._signer = signer
        self._origin = origin
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def __call__(
        self, context: RequestContext, wanted: Wanted
    ) -> AsyncGenerator[bytes, None]:
        """The bundle, some lines at a time. What was recorded so far is signed first, where
        the sealer is at work.

        Raises, before the first line, ``access_denied``, ``not_found`` while nothing is
        sealed, ``invalid_request`` for a cursor beyond the log, ``rate_limited`` while
        others are being exported. Close it (``contextlib.aclosing``) where it is left
        before its end.
        """
        decision = self._authorizer.decide(context.principal, Action.READ_AUDIT)
        if not decision.allowed:
            raise VaultError(Code.ACCESS_DENIED, "No policy lets this principal read the log.")
        if self._free.locked():
            raise VaultError(
                Code.RATE_LIMITED, "Other exports are under way; wait for them.", retry_after=30
            )
        tenant = context.principal.tenant
        async with self._free, self._reader.contents() as contents:
            if wanted.until is None:
                await signed_tree(self._reader, await self._reader.size())
            stretch = await log_export.plan(contents, wanted)
            key = await self._signer.open()
            event = self._recorder.event(
                context,
                Action.READ_AUDIT,
                item_count=stretch.size - stretch.first,
                detail={
                    "policies": list(decision.policies),
                    "view": VIEW,
                    "first": stretch.first,
                    "size": stretch.size,
                },
            )
            await self._store.append(event)
            async for lines in log_export.write(
                contents, stretch, tenant=tenant, origin=self._origin, key=key
            ):
                yield lines
