"""Ends a process that is told to terminate in the orderly way.

By default SIGTERM and SIGHUP kill a process on the spot, and what it should have stopped
lives on. uvicorn raises a signal again after its own shutdown, so this matters to it too.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def termination_as_exit() -> Iterator[None]:
    """While the block runs, a signal to terminate raises :class:`SystemExit` with the exit
    code that a shell gives for it. A signal that is handled or ignored already stays so,
    and outside the main thread nothing is changed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    taken = [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]
    for number in taken:
        signal.signal(number, _leave)
    try:
        yield
    finally:
        for number in taken:
            if signal.getsignal(number) is _leave:
                signal.signal(number, signal.SIG_DFL)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
