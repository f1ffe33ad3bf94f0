"""The export bundle: a stretch of the transparency log that can be verified offline.

Newline-delimited JSON, UTF-8, one line at a time in and out. In order: a header; for each
leaf, ascending and without a gap, the event or why it is withheld; a checkpoint after the
last leaf that it covers; events that are in no leaf yet; the end, with counts. Hashes are
base64 (RFC 4648 4).

A line has one spelling: no white space, keys in the order of the fields here, strings as
msgspec writes them. What decodes alike but is spelled otherwise is refused, so that no
byte outside an event's body changes unseen. A body is cut out of its line by position and
never read here: it may be anything, and its hash says whether it is what was sealed.
"""

import re
from binascii import a2b_base64, b2a_base64
from typing import Annotated, Final, Literal, TypeAlias

import msgspec

from vault_service.domain.merkle import HASH_SIZE, MAX_SIZE

MAX_LINE_BYTES: Final = 1 << 24
"""An event of 10,000 tokens and subjects, and room to spare; with its newline."""
WHOLE_LOG: Final = "all"
"""The scope of a bundle that shows the events of every tenant."""

_Leaf: TypeAlias = Annotated[int, msgspec.Meta(ge=0, lt=MAX_SIZE)]
_Size: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
_Hash: TypeAlias = Annotated[bytes, msgspec.Meta(min_length=HASH_SIZE, max_length=HASH_SIZE)]
# A proof has two hashes a level at most, and a size has 63 bits.
_Hashes: TypeAlias = Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=128)]
Reason: TypeAlias = Literal["tenant", "archived", "missing"]

_EVENT: Final = re.compile(
    rb'\{"type":"event","leaf":(0|[1-9][0-9]{0,18}),'
    rb'"hash":"([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)","event":([^\n]*)\}\n'
)
_EVENT_START: Final = b'{"type":"event",'
_UNSEALED_START: Final = b'{"type":"unsealed","event":'
_END: Final = b"}\n"


class BundleMalformed(ValueError):
    """The line is not one of a bundle."""


class _Line(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="type", tag=str.lower
):
    """A line that is JSON throughout."""


class Since(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A consistency proof (RFC 6962 2.1.2) from the tree of ``size`` leaves to the bundle's
    last checkpoint."""

    size: _Size
    consistency: _Hashes


class Header(_Line, frozen=True):
    """The first line. ``scope`` is ``all`` or a tenant; ``left`` holds the hashes of the
    perfect subtrees that cover the leaves before ``first``, largest first. ``key`` is what
    the log says its key is: information, never trusted."""

    v: Literal[1]
    origin: str
    scope: str
    first: _Size
    left: _Hashes
    key: str
    since: Since | msgspec.UnsetType = msgspec.UNSET


class Event(msgspec.Struct, frozen=True):
    """Leaf ``leaf``: its hash as sealed and the event's canonical bytes."""

    leaf: int
    hash: bytes
    body: bytes


class Withheld(_Line, frozen=True):
    """A leaf whose event is not shown: it is another ``tenant``'s, it is ``archived``, or it
    is ``missing`` from where it should be."""

    leaf: _Leaf
    hash: _Hash
    why: Reason


class Checkpoint(_Line, frozen=True):
    """A signed checkpoint of the tree at ``size`` leaves, which stand above it.
    ``consistency`` is the proof from the bundle's previous checkpoint (RFC 6962 2.1.2),
    empty in the first."""

    size: _Size
    consistency: _Hashes
    note: str


class Unsealed(msgspec.Struct, frozen=True):
    """Canonical bytes of an event that is in no leaf."""

    body: bytes


class End(_Line, frozen=True):
    """The last line: how many lines of leaves there were, how many of them with events,
    and how many unsealed events."""

    leaves: _Size
    events: _Size
    unsealed: _Size


Line: TypeAlias = Header | Event | Withheld | Checkpoint | Unsealed | End

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(Header | Withheld | Checkpoint | End).decode


def leaf_line(leaf: int, leaf_hash: bytes, body: bytes) -> Event | Withheld:
    """The line of a leaf whose event is to be shown. A body that cannot stand in a line is
    not what was recorded, whatever it hashes to: its event counts as missing."""
    if b"\n" in body or len(body) > MAX_LINE_BYTES - 128:
        return Withheld(leaf, leaf_hash, "missing")
    return Event(leaf, leaf_hash, body)


def encode(line: Line) -> bytes:
    """The line with its newline. :class:`BundleMalformed` where :func:`decode` would not
    take it."""
    if isinstance(line, Event):
        encoded = b'{"type":"event","leaf":%d,"hash":"%b","event":%b}\n' % (
            line.leaf,
            b2a_base64(line.hash, newline=False),
            line.body,
        )
    elif isinstance(line, Unsealed):
        encoded = _UNSEALED_START + line.body + _END
    else:
        encoded = _encode(line) + b"\n"
    if decode(encoded) != line:
        raise BundleMalformed("this cannot stand in a bundle")
    return encoded


def decode(line: bytes) -> Line:
    """Read a line, with its newline. :class:`BundleMalformed` where it is none of a bundle,
    is spelled otherwise than :func:`encode` does, or is over 16 MiB."""
    if len(line) > MAX_LINE_BYTES:
        raise BundleMalformed("the line is too long")
    found = _EVENT.fullmatch(line)
    if found is not None:
        leaf, leaf_hash, body = found.groups()
        return Event(int(leaf), a2b_base64(leaf_hash), body)
    if not line.endswith(b"\n"):
        raise BundleMalformed("the line is cut off")
    if line.startswith(_UNSEALED_START):
        body = line[len(_UNSEALED_START) : -len(_END)]
        if _UNSEALED_START + body + _END != line or b"\n" in body:
            raise BundleMalformed("not a line of an unsealed event")
        return Unsealed(body)
    if line.startswith(_EVENT_START):
        raise BundleMalformed("not a line of an event")
    try:
        decoded: Line = _decode(line)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise BundleMalformed("not a line of a bundle") from None
    if _encode(decoded) + b"\n" != line:
        raise BundleMalformed("the line is not in its canonical spelling")
    return decoded
