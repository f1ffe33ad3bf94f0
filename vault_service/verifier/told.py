"""What an event says of itself: the parts of its canonical bytes that are needed here."""

from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec

_WRONG: Final = (msgspec.MsgspecError, RecursionError, UnicodeDecodeError)


class EventUnreadable(ValueError):
    """The bytes are not an event of the encoding known here."""


class Known(msgspec.Struct):
    """What every event says."""

    v: Literal[1]
    id: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]
    tenant: str


class _Group(msgspec.Struct):
    tokens: list[str] = []


class _Whole(Known):
    action: str
    outcome: str
    principal: str | None = None
    purpose: str | None = None
    case: str | None = None
    groups: list[_Group] = []


_read: Final = msgspec.json.Decoder(Known).decode
_read_whole: Final = msgspec.json.Decoder(_Whole).decode
_read_any: Final = msgspec.json.Decoder(dict[str, Any]).decode
_write: Final = msgspec.json.Encoder(order="sorted").encode


def read(body: bytes) -> Known:
    """Id, time and tenant; :class:`EventUnreadable` where there are none."""
    try:
        return _read(body)
    except _WRONG:
        raise EventUnreadable("not an event") from None


def read_whole(body: bytes) -> _Whole:
    """Who did what, why, and how it ended; :class:`EventUnreadable` as :func:`read`."""
    try:
        return _read_whole(body)
    except _WRONG:
        raise EventUnreadable("not an event") from None


def read_canonical(body: bytes) -> Known:
    """As :func:`read`, for bytes that no hash vouches for: :class:`EventUnreadable` where
    they are not in the canonical spelling, too."""
    try:
        if _write(_read_any(body)) != body:
            raise EventUnreadable("not the canonical bytes of an event")
    except _WRONG:
        raise EventUnreadable("not an event") from None
    return read(body)
