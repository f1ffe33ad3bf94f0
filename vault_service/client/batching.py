"""Splitting a call into requests that the service accepts, and putting it together.

Items are encoded once, one by one, so that a request can be cut at a number of bytes
without encoding anything twice.
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
    """Items that go into one request: their positions in the call, and their JSON."""

    positions: list[int] = field(default_factory=list)
    parts: list[bytes] = field(default_factory=list, repr=False)
    size: int = 0


@dataclass(slots=True)
class Cut:
    """The requests of a call, and the items that cannot be sent at all."""

    batches: list[Batch]
    unsendable: dict[int, ItemError]


def _encoded(item: AnyItem) -> bytes | ItemError:
    try:
        content = _encode(item)
    except UnicodeEncodeError:
        # RFC 8259 8.1: JSON text is UTF-8, which lone surrogates have no form in.
        return ItemError("invalid_value", "The value is not valid Unicode text.")
    if len(content) > _MAX_CONTENT:
        return ItemError("payload_too_large", "The item alone is larger than a request may be.")
    return content


def cut(items: Sequence[AnyItem], batch_size: int) -> Cut:
    """Requests of at most ``batch_size`` items and 16 MiB, in order."""
    batches: list[Batch] = []
    unsendable: dict[int, ItemError] = {}
    batch = Batch()
    for position, item in enumerate(items):
        part = _encoded(item)
        if isinstance(part, ItemError):
            unsendable[position] = part
            continue
        full = len(batch.parts) >= batch_size or batch.size + len(part) + 1 > _MAX_CONTENT
        if full and batch.parts:
            batches.append(batch)
            batch = Batch()
        batch.positions.append(position)
        batch.parts.append(part)
        batch.size += len(part) + 1
    if batch.parts:
        batches.append(batch)
    return Cut(batches, unsendable)


def body(parts: Sequence[bytes], envelope: dict[str, str]) -> bytes:
    """A request body: the envelope's fields and the items."""
    fields = b"".join(b"%b:%b," % (_encode(k), _encode(v)) for k, v in envelope.items())
    return b'{%b"items":[%b]}' % (fields, b",".join(parts))


def derived_key(key: str, *parts: object) -> str:
    """An idempotency key for a part of what ``key`` stands for: the same for the same
    parts, 43 characters that nobody takes for a card number."""
    text = "\x1f".join([key, *(str(part) for part in parts)])
    digest = hashlib.sha256(text.encode()).hexdigest()
    # Letters alone: a run of digits in a hash may look like a card number by chance.
    return "k" + digest[:42].translate(_LETTERS)


_LETTERS: Final = str.maketrans("0123456789", "ghijklmnop")
