"""Log lines: one JSON object each, with a constant event name and identifiers.

Nothing that came from outside gets into a line through here (OWASP ASVS 5 16.2.5,
PCI-DSS 3.5.1): an exception is its type and the code it passed through, never its text;
an object is its type; a text that looks like a card number is withheld; of what other
libraries log, the place in their code is kept, and the message only of uvicorn, whose
messages are about the server, and even there without what they were formatted with.
"""

import contextlib
import logging
import sys
import threading
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Final, TextIO

import msgspec
import structlog

from vault_service.domain.detection import looks_like_card_number

_MAX_FRAMES: Final = 30
_MAX_CHAIN: Final = 5
_MAX_TEXT: Final = 300
_SMALLEST_CARD_NUMBER: Final = 10**11
_WITHHELD: Final = "[withheld]"
_MESSAGES_KEPT: Final = ("uvicorn", "uvicorn.error")
_SILENT: Final = ("uvicorn.access",)
_encode = msgspec.json.encode

EventDict = MutableMapping[str, Any]


def configure_logging(stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send every log line of this process to ``stream`` (stderr by default) as JSON, the
    standard library's and uncaught exceptions included.

    Start uvicorn with ``log_config=None, access_log=False``: its access log would hold
    URLs.
    """
    out = _Out(sys.stderr if stream is None else stream)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _describe_exception,
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *names: _Line(out, names[0] if names else "strongroom"),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Handler(out)]
    root.setLevel(logging.WARNING)
    for name in _MESSAGES_KEPT:
        _only_through_root(name, level)
    for name in _SILENT:
        _only_through_root(name, logging.CRITICAL + 1)
    logging.captureWarnings(True)
    _catch_uncaught()


def exception_places(error: BaseException) -> list[dict[str, Any]]:
    """An exception, then what led to it: for each its type and the code it passed through
    (``module:function:line``), innermost last. No text, no values of variables."""
    return [
        {"type": _type_name(found), "places": list(_places(found.__traceback__))}
        for found in _chain(error)
    ]


def _chain(error: BaseException) -> Iterator[BaseException]:
    current: BaseException | None = error
    for _ in range(_MAX_CHAIN):
        if current is None:
            return
        yield current
        if isinstance(current, BaseExceptionGroup):
            current = current.exceptions[0]
        elif current.__cause__ is not None or current.__suppress_context__:
            current = current.__cause__
        else:
            current = current.__context__


def _type_name(error: BaseException) -> str:
    kind = type(error)
    if kind.__module__ == "builtins":
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _places(trace: TracebackType | None) -> Iterator[str]:
    frames = []
    while trace is not None:
        frames.append(trace)
        trace = trace.tb_next
    for frame in frames[-_MAX_FRAMES:]:
        code = frame.tb_frame.f_code
        module = frame.tb_frame.f_globals.get("__name__", "?")
        yield f"{module}:{code.co_qualname}:{frame.tb_lineno}"


def _describe_exception(_logger: Any, _method: str, event: EventDict) -> EventDict:
    given = event.pop("exc_info", None)
    event.pop("stack_info", None)
    if given:
        error = given if isinstance(given, BaseException) else sys.exc_info()[1]
        if isinstance(given, tuple):
            error = given[1]
        if error is not None:
            event["exception"] = exception_places(error)
    return event


def _render(_logger: Any, _method: str, event: EventDict) -> str:
    made_here = {name: event.pop(name) for name in ("at", "exception") if name in event}
    line = {name: _plain(value) for name, value in event.items()} | made_here
    return _encode(line).decode()


def _plain(value: Any) -> Any:
    """The value where it is plain and harmless; else its type, or that it is withheld."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        if abs(value) < _SMALLEST_CARD_NUMBER:
            return value
        return _WITHHELD if looks_like_card_number(str(value)) else value
    if isinstance(value, str):
        text = value[:_MAX_TEXT]
        return _WITHHELD if looks_like_card_number(text) else text
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    return f"<{type(value).__qualname__}>"


class _Out:
    """Writes whole lines; a stream that is gone must not fail a request."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lock = threading.Lock()

    def write(self, line: str) -> None:
        with self._lock, contextlib.suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()


class _Line:
    """What structlog hands a rendered line to. ``name`` is the logger's name."""

    def __init__(self, out: _Out, name: str) -> None:
        self.name = name
        self._out = out

    def msg(self, line: str) -> None:
        self._out.write(line)

    debug = info = warning = error = critical = exception = msg


class _Handler(logging.Handler):
    """Brings the standard library's records into the same shape."""

    def __init__(self, out: _Out) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        kept = record.name in _MESSAGES_KEPT and isinstance(record.msg, str)
        event: EventDict = {
            "event": record.msg.strip() if kept else "library_message",
            "logger": record.name,
            "level": record.levelname.lower(),
            "place": f"{record.module}:{record.funcName}:{record.lineno}",
            "exc_info": record.exc_info,
        }
        structlog.contextvars.merge_contextvars(None, "", event)
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at")(None, "", event)
        self._out.write(_render(None, "", _describe_exception(None, "", event)))


def _only_through_root(name: str, level: int) -> None:
    logger = logging.getLogger(name)
    logger.handlers = []
    logger.propagate = True
    logger.setLevel(level)


def _catch_uncaught() -> None:
    """An exception that nobody caught is otherwise printed with its text."""
    log = structlog.get_logger("strongroom.process")

    def uncaught(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        if issubclass(kind, KeyboardInterrupt):
            return
        log.critical("uncaught_exception", exc_info=(kind, error, trace))

    def uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            log.critical("uncaught_exception", exc_info=args.exc_value)

    def unraisable(args: Any) -> None:
        if args.exc_value is not None:
            log.error("unraisable_exception", exc_info=args.exc_value)

    sys.excepthook = uncaught
    threading.excepthook = uncaught_in_thread
    sys.unraisablehook = unraisable
