"""Splitting a call into requests that the service accepts, and putting it together.

As many items as a request takes are encoded together. Only where they do not fit into its
bytes, or one of them cannot be sent at all, is it found out item by item where to cut.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from vault_service.client.results import DetokenizeItem, ItemError, TokenizeItem

MAX_ITEMS: Final = 10_000
MAX_BODY: Final = 16 * 1024 * 1024
# What stands around the items: mode, purpose and case, all short.
_ENVELOPE: Final = 64 * 1024
_MAX_CONTENT: Final = MAX_BODY - _ENVELOPE

_encode = msgspec.json.Encoder().encode

AnyItem = TokenizeItem | DetokenizeItem


@dataclass(slots=True)
class Batch:
    """Items that go into one request, their positions in the call, and their JSON."""

    positions: Sequence[int]
    items: Sequence[AnyItem] = field(repr=False)
    content: bytes = field(repr=False)

    def content_of(self, places: Sequence[int]) -> bytes:
        """The JSON of those at these places of the batch, in this order."""
        return _encode([self.items[place] for place in places])


@dataclass(slots=True)
class Cut:
    """The requests of a call, and the items that cannot be sent at all."""

    batches: list[Batch]
    unsendable: dict[int, ItemError]


def cut(items: Sequence[AnyItem], batch_size: int) -> Cut:
    """Requests of at most ``batch_size`` items and 16 MiB, in order."""
    pieces = Cut([], {})
    for start in range(0, len(items), batch_size):
        some = items[start : start + batch_size]
        try:
            content = _encode(some)
        except UnicodeEncodeError:
            content = None
        if content is not None and len(content) <= _MAX_CONTENT:
            pieces.batches.append(Batch(range(start, start + len(some)), some, content))
        else:
            _cut_singly(some, start, pieces)
    return pieces


def _cut_singly(items: Sequence[AnyItem], start: int, pieces: Cut) -> None:
    taken: list[tuple[int, AnyItem]] = []
    size = 0

    def close() -> None:
        if taken:
            fitting = [item for _, item in taken]
            positions = [position for position, _ in taken]
            pieces.batches.append(Batch(positions, fitting, _encode(fitting)))

    for position, item in enumerate(items, start):
        try:
            length = len(_encode(item)) + 1
        except UnicodeEncodeError:
            # RFC 8259 8.1: JSON text is UTF-8, which lone surrogates have no form in.
            pieces.unsendable[position] = ItemError(
                "invalid_value", "The value is not valid Unicode text."
            )
            continue
        if length >= _MAX_CONTENT:
            pieces.unsendable[position] = ItemError(
                "payload_too_large", "The item alone is larger than a request may be."
            )
            continue
        if size + length >= _MAX_CONTENT:
            close()
            taken, size = [], 0
        taken.append((position, item))
        size += length
    close()


def body(content: bytes, envelope: dict[str, str]) -> bytes:
    """A request body: the envelope's fields and the JSON of the items."""
    fields = b"".join(b"%b:%b," % (_encode(k), _encode(v)) for k, v in envelope.items())
    return b'{%b"items":%b}' % (fields, content)


def derived_key(key: str, *parts: object) -> str:
    """An idempotency key for a part of what ``key`` stands for: the same for the same
    parts, 43 characters that nobody takes for a card number."""
    text = "\x1f".join([key, *(str(part) for part in parts)])
    digest = hashlib.sha256(text.encode()).hexdigest()
    # Letters alone: a run of digits in a hash may look like a card number by chance.
    return "k" + digest[:42].translate(_LETTERS)


_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")
