"""A signing key and a place for checkpoints that can be taken away, and given back."""

import asyncio

from vault_service.domain.errors import Code, KeyUnavailable, VaultError
from vault_service.domain.notes import VerifierKey
from vault_service.domain.ports import Anchor, CheckpointSigner


class RemovableSigner:
    """Signs with ``signer``, unless it is ``away``."""

    def __init__(self, signer: CheckpointSigner) -> None:
        self._signer = signer
        self.away = False

    @property
    def name(self) -> str:
        return self._signer.name

    @property
    def key(self) -> VerifierKey:
        self._check()
        return self._signer.key

    async def open(self) -> VerifierKey:
        self._check()
        return await self._signer.open()

    async def sign(self, message: bytes) -> bytes:
        self._check()
        return await self._signer.sign(message)

    def close(self) -> None:
        """Nothing is held open."""

    def _check(self) -> None:
        if self.away:
            raise KeyUnavailable("The signing key is away.", retry_after=1)


class RemovableAnchor:
    """Keeps checkpoints in ``anchor``, unless it is ``away``; while ``reached`` is not set,
    it answers nothing at all."""

    def __init__(self, anchor: Anchor) -> None:
        self._anchor = anchor
        self.away = False
        self.reached = asyncio.Event()
        self.reached.set()

    async def newest(self) -> str | None:
        await self._reach()
        return await self._anchor.newest()

    async def keep(self, size: int, signed: str) -> None:
        await self._reach()
        await self._anchor.keep(size, signed)

    async def _reach(self) -> None:
        await self.reached.wait()
        if self.away:
            raise VaultError(Code.AUDIT_UNAVAILABLE, "The anchor is away.", retry_after=1)
