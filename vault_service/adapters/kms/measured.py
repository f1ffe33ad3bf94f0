"""Counts what a wrapping key is asked for, and how it answers."""

import time
from collections.abc import Awaitable, Callable, Mapping

from vault_service.domain.errors import VaultError
from vault_service.domain.ports import KeyWrapper

Observe = Callable[[str, str, float], None]
"""Takes the operation, its outcome (``ok`` or an error's code) and its seconds."""


class MeasuredWrapper:
    """Another wrapper, with every call counted. Meets ``KeyWrapper``."""

    def __init__(self, wrapper: KeyWrapper, observe: Observe) -> None:
        self._wrapper = wrapper
        self._observe = observe

    @property
    def reference(self) -> str:
        """Names the wrapping key beneath."""
        return self._wrapper.reference

    async def wrap(self, secret: bytes, context: Mapping[str, str]) -> bytes:
        """See :class:`~vault_service.domain.ports.KeyWrapper`."""
        return await self._measured("wrap", self._wrapper.wrap(secret, context))

    async def unwrap(self, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """See :class:`~vault_service.domain.ports.KeyWrapper`."""
        return await self._measured("unwrap", self._wrapper.unwrap(wrapped, context))

    async def _measured(self, operation: str, call: Awaitable[bytes]) -> bytes:
        started = time.perf_counter()
        outcome = "ok"
        try:
            return await call
        except VaultError as error:
            outcome = error.code.value
            raise
        finally:
            self._observe(operation, outcome, time.perf_counter() - started)
