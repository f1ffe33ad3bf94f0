"""Tokens: their formats, their check characters and the stored record.

A token is random and carries no information about the value it stands for
(PCI tokenization guidelines; PCI-DSS 3.5.1). The default format is
``tok_<class>_`` + 26 characters of lower-case Crockford base32 (130 random bits)
+ one check character (Luhn mod 32 over the 26), which catches every mistyped
character and nearly every swap of neighbours before the database is asked.
"""

import os
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

import msgspec

from vault_service.domain.access import Tags
from vault_service.domain.catalog import TokenFormat
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.validation import luhn_valid

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
BODY_LENGTH: Final = 26
MAX_TOKEN_LENGTH: Final = 128
_BYTES: Final = ALPHABET.encode("ascii")
# 256 is a multiple of 32, so a random byte reduced to five bits stays uniform.
_FROM_RANDOM: Final = bytes(_BYTES[b & 31] for b in range(256))
_AS_ZEROS: Final = bytes(48 if b & 31 < 10 else 120 for b in range(256))
_DIGIT_RUN: Final = b"0" * 11
_PLAIN: Final = bytes(b & 31 for b in range(256))
_DOUBLED: Final = bytes((d := 2 * (b & 31)) // 32 + d % 32 for b in range(256))
_MANY: Final = 16
_PLACES: Final = 7
_CHECKS: Final = bytes(_BYTES[-b % 32] for b in range(256))
_VALUE_OF: Final = bytes(_BYTES.find(b) if b in _BYTES else 0 for b in range(256))
_OPAQUE: Final = re.compile(
    r"tok_([a-z][a-z0-9_]{0,39})_([0-9a-hjkmnp-tv-z]{26})([0-9a-hjkmnp-tv-z])"
)
_TOKEN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9@._-]{0,127}")
_DIGITS_TRIES: Final = 64

Randomness = Callable[[int], bytes]
"""Gives that many cryptographically random bytes; ``os.urandom`` outside tests."""


def check_character(body: str) -> str:
    """The check character of a 26-character token body (Luhn mod 32)."""
    return _check(body.encode("ascii").translate(_VALUE_OF))


def _check(values: bytes) -> str:
    total = sum(values[::2].translate(_PLAIN)) + sum(values[1::2].translate(_DOUBLED))
    return ALPHABET[-total % 32]


def _random_bodies(count: int, randomness: Randomness) -> bytes:
    """Random bytes for ``count`` bodies. A body with eleven digits in a row (one in some
    twenty thousand) is drawn anew: with its check character it might hold a card number,
    and what is refused in clear text must never be a token of our own."""
    random = randomness(BODY_LENGTH * count)
    if _DIGIT_RUN not in random.translate(_AS_ZEROS):
        return random
    bodies = [random[i : i + BODY_LENGTH] for i in range(0, len(random), BODY_LENGTH)]
    return b"".join(
        _random_bodies(1, randomness) if _DIGIT_RUN in body.translate(_AS_ZEROS) else body
        for body in bodies
    )


def new_opaque(data_class: str, count: int, randomness: Randomness = os.urandom) -> list[str]:
    """``count`` fresh opaque tokens of ``data_class``."""
    random = _random_bodies(count, randomness)
    bodies = random.translate(_FROM_RANDOM).decode("ascii")
    prefix = f"tok_{data_class}_"
    return [
        f"{prefix}{bodies[i : i + BODY_LENGTH]}{check}"
        for i, check in zip(
            range(0, len(random), BODY_LENGTH), _check_characters(random), strict=True
        )
    ]


def _check_characters(random: bytes) -> str:
    """The check characters of the bodies made from ``random``.

    From a few on, all at once, which is four times as quick: the characters at one place
    of every body, a byte each, are one long number, and the sum of such numbers holds
    the sum of each body in its byte. No byte runs over: what is added is below 32, and
    sums are brought below 32 again after every seven.
    """
    count = len(random) // BODY_LENGTH
    if count < _MANY:
        starts = range(0, len(random), BODY_LENGTH)
        return "".join([_check(random[i : i + BODY_LENGTH]) for i in starts])
    terms = (random.translate(_PLAIN), random.translate(_DOUBLED))
    sums = bytes(count)
    for first in range(0, BODY_LENGTH, _PLACES):
        total = int.from_bytes(sums, "big")
        for place in range(first, min(first + _PLACES, BODY_LENGTH)):
            total += int.from_bytes(terms[place % 2][place::BODY_LENGTH], "big")
        sums = total.to_bytes(count, "big").translate(_PLAIN)
    return sums.translate(_CHECKS).decode("ascii")


def _new_digits(value: str, randomness: Randomness) -> str:
    """Same length as the value, starts with 9, never Luhn-valid, so it can never be
    taken for a live card number. A value of fewer than 12 digits leaves too few
    tokens to be unique among; the catalog refuses the format for such classes."""
    length = len(value)
    for _ in range(_DIGITS_TRIES):
        # Bytes of 250 and more are dropped: 250 is a multiple of ten, 256 is not.
        digits = [str(b % 10) for b in randomness(2 * length) if b < 250]
        token = "9" + "".join(digits[: length - 1])
        if len(token) == length and not luhn_valid(token) and token != value:
            return token
    raise RuntimeError("the randomness source gives no usable digits")


def _new_email(randomness: Randomness) -> str:
    body = _random_bodies(1, randomness).translate(_FROM_RANDOM).decode("ascii")
    return f"{body}@tokens.invalid"


def new_tokens(
    data_class: str,
    token_format: TokenFormat,
    values: list[str],
    randomness: Randomness = os.urandom,
) -> list[str]:
    """One fresh token for each normalized value, in order."""
    match token_format:
        case TokenFormat.OPAQUE:
            return new_opaque(data_class, len(values), randomness)
        case TokenFormat.DIGITS:
            return [_new_digits(value, randomness) for value in values]
        case TokenFormat.EMAIL:
            return [_new_email(randomness) for _ in values]
        case TokenFormat.UUID:
            return [str(uuid.UUID(bytes=randomness(16), version=4)) for _ in values]


def storable(token: str) -> bool:
    """Whether a database can be asked for this string; most that cannot be tokens can."""
    return len(token) <= MAX_TOKEN_LENGTH and "\0" not in token


def well_formed(token: str) -> bool:
    """Whether the string can be a token at all (shape and check character).

    One that cannot is answered like an unknown token.
    """
    if not token.startswith("tok_"):
        return _TOKEN.fullmatch(token) is not None
    match = _OPAQUE.fullmatch(token)
    return match is not None and check_character(match[2]) == match[3]


@dataclass(slots=True)
class TokenBatch:
    """Rows to be stored, as columns: candidate tokens of one class with one set of tags,
    and their encrypted values. All lists have one entry a row.

    ``blind_indexes`` are 32-byte keyed HMACs for deterministic classes, ascending and
    without repeats (so that concurrent stores take their locks in one order), and
    ``None`` for others. ``ciphertexts`` are records of ``domain/ciphertext.py``.
    ``subjects`` and ``expires_at`` are ``None`` where no row has any; ``links`` are
    further subjects of a row, as (row, subject).
    """

    data_class: str
    tags: Tags
    key_id: int
    tokens: list[str]
    ciphertexts: list[bytes]
    index_key_id: int | None = None
    blind_indexes: list[bytes] | None = None
    subjects: list[str | None] | None = None
    links: list[tuple[int, str]] = field(default_factory=list)
    expires_at: list[datetime | None] | None = None

    def __len__(self) -> int:
        return len(self.tokens)


class TokenTaken(VaultError):
    """A fresh token is in use already, which formats with few digits make possible;
    nothing was stored, and another draw will do."""

    def __init__(self) -> None:
        super().__init__(Code.INTERNAL, "No free token was found; repeat the request.")


class TokenRecord(msgspec.Struct, frozen=True, gc=False):
    """A stored token: what the database holds about it, value still encrypted.

    A struct, because thousands are made at once: each costs a third of a named tuple,
    and the garbage collector need not look at it.
    """

    token: str
    data_class: str
    key_id: int
    ciphertext: bytes
    tags: Tags
    subject: str | None
    expires_at: datetime | None


class StoredToken(NamedTuple):
    """A stored token and when it was stored."""

    record: TokenRecord
    created_at: datetime


@dataclass(slots=True)
class StoredBatch:
    """What became of a :class:`TokenBatch`: the token of each row, its own or the one
    that already stood for the value. ``known`` holds, by row, the records that were
    there before."""

    tokens: list[str]
    known: dict[int, TokenRecord]
