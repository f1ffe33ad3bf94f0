"""The orderly end of a process that serves: what happens between SIGTERM and the last byte.

1. ``GET /readyz`` turns 503, and every answer asks its client to close the connection. The
   listener takes new connections all the while: a balancer needs time to see the first, and
   what it still sends must not be refused.
2. After :attr:`Drain.seconds`, or at a second SIGTERM, the server that this process runs on
   does as it would have done at once: no new connections, requests in flight are answered.
3. What waits for the database is committed, the end is recorded and all of it is sealed:
   see :mod:`vault_service.housekeeping`.
"""

import asyncio
import signal
import threading
from typing import Any, Final

import structlog

STATE: Final = "drain"
"""The name of the process's :class:`Drain` in the state that ASGI hands to each request."""
_log = structlog.get_logger("strongroom.process")


class Drain:
    """The first step. ``seconds`` is how long it lasts; 0 ends it as it begins."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.begun = False
        self._timer: asyncio.TimerHandle | None = None
        self._next: Any = signal.SIG_DFL

    def watch(self) -> None:
        """Take SIGTERM before whoever takes it now. Called within the event loop; does
        nothing outside the main thread, where no signal arrives."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        self._next = signal.getsignal(signal.SIGTERM)

        def pass_on(_signal: int, _frame: object) -> None:
            loop.call_soon_threadsafe(self._told)

        signal.signal(signal.SIGTERM, pass_on)

    def _told(self) -> None:
        if self._timer is not None or not self.seconds:
            self.begun = True
            self._end()
            return
        self.begun = True
        _log.info("drain_begins", seconds=self.seconds)
        self._timer = asyncio.get_running_loop().call_later(self.seconds, self._end)

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        signal.signal(signal.SIGTERM, self._next)
        signal.raise_signal(signal.SIGTERM)
