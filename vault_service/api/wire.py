"""Request bodies: JSON into message types, strictly, and errors that never echo.

msgspec refuses wrong types, unknown fields, malformed JSON and lone surrogates while it
decodes; its messages quote names that came from outside, so they are translated here.
Duplicate keys (RFC 8259 4) it lets pass, so they are looked for here.
"""

import json
import re
from typing import Any, Final, TypeVar

import msgspec

from vault_service.api.report_bodies import BODIES as REPORT_BODIES
from vault_service.domain.errors import Code, FieldError, VaultError
from vault_service.domain.metadata import MAX_TAGS
from vault_service.services.items import MAX_ITEMS, DetokenizeItem, TokenizeItem

MAX_BODY: Final = 16 * 1024 * 1024
"""Bytes."""
# Fields and tags of the largest lawful request. Counted before anything is built from
# the body, so that many tiny parts cannot fill the memory.
_MAX_KEYS: Final = MAX_ITEMS * 22
_WHITE_SPACE: Final = (b" ", b"\t", b"\r", b"\n")
_SPACED_KEY: Final = re.compile(rb'"[ \t\r\n]+:')
# A brace, or a string and the colon that makes it a key.
_PIECE: Final = re.compile(rb'[{}]|"([^"\\]*(?:\\.[^"\\]*)*)"([ \t\r\n]*:)?', re.DOTALL)
_OPENING, _CLOSING = b"{}"
_PLACE: Final = re.compile(r" - at `(?:key in )?\$([A-Za-z0-9_.\[\]]*)`$")
_MISSING: Final = re.compile(r"Object missing required field `([a-z_]+)`")
_TYPE: Final = re.compile(r"Expected `([a-z_ |]+)`, got `[a-z_]+`")

T = TypeVar("T")


class TokenizeBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/tokenize``."""

    items: list[TokenizeItem]
    mode: str = "partial"

    def keys(self) -> int:
        """How many keys the JSON of this body has, if none stands twice or is null."""
        keys = 2 if self.mode != "partial" else 1
        for item in self.items:
            keys += 2
            if item.reference is not None:
                keys += 1
            if item.subject is not None:
                keys += 1
            if item.tags is not None:
                keys += 1 + len(item.tags)
            if item.expires_in is not None:
                keys += 1
        return keys


class DetokenizeBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/detokenize``."""

    items: list[DetokenizeItem]
    purpose: str | None = None
    case: str | None = None

    def keys(self) -> int:
        """How many keys the JSON of this body has, if none stands twice or is null."""
        keys = 1 + (self.purpose is not None) + (self.case is not None)
        for item in self.items:
            keys += 1
            if item.form != "masked":
                keys += 1
            if item.reference is not None:
                keys += 1
        return keys


class LookupBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/lookup``."""

    data_class: str
    value: str

    def __repr__(self) -> str:
        return "LookupBody(…)"


class ExplainBody(msgspec.Struct, forbid_unknown_fields=True):
    """The body of ``POST /v1/policy/explain``: a request that is asked about, not made."""

    action: str
    data_class: str | None = None
    form: str | None = None
    purpose: str | None = None
    tags: dict[str, str] = {}
    item_count: int = 1
    report: str | None = None


_decoders: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind)
    for kind in (TokenizeBody, DetokenizeBody, LookupBody, ExplainBody, *REPORT_BODIES)
}


def decode(body: bytes, kind: type[T]) -> T:
    """The message in ``body``; ``invalid_request`` or ``too_many_items`` where it is none."""
    keys = body.count(b'":')
    # Most bodies have no white space at all, which is quick to see.
    spaced = any(map(body.__contains__, _WHITE_SPACE)) and _SPACED_KEY.search(body) is not None
    if keys > _MAX_KEYS or (spaced and _more_than(_MAX_KEYS - keys, _SPACED_KEY, body)):
        raise VaultError(
            Code.TOO_MANY_ITEMS,
            "The body has more parts than 10,000 items can have; split it.",
            errors=(FieldError("items", "max_length", "Send at most 10,000 items."),),
        )
    try:
        message: T = _decoders[kind].decode(body)
    except msgspec.ValidationError as error:
        raise _broken_rule(str(error)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed("json", "The body is not well-formed JSON in UTF-8.") from None
    # The quick test is exact where it says "none": every key ends in `":` unless white
    # space stands before the colon, so as many of these as fields were decoded means
    # that no key was there twice. Otherwise the body is read once more, slowly.
    count = getattr(message, "keys", None)
    if (spaced or count is None or keys != count()) and _has_duplicate_keys(body):
        raise malformed("duplicate_key", "An object has a key twice.")
    return message


def malformed(rule: str, detail: str, field: str = "body") -> VaultError:
    """``invalid_request`` for a broken rule."""
    return VaultError(Code.INVALID_REQUEST, detail, errors=(FieldError(field, rule, detail),))


def _more_than(limit: int, pattern: re.Pattern[bytes], body: bytes) -> bool:
    return any(number > limit for number, _ in enumerate(pattern.finditer(body), 1))


def _has_duplicate_keys(body: bytes) -> bool:
    """Whether an object of the JSON, which is well formed, has a key twice (RFC 8259 4).

    Read piece by piece, so that a large body is not held a second time. Of an object
    with more keys than any may have, which is refused for that, only so many are seen.
    """
    objects: list[set[bytes]] = []
    for piece in _PIECE.finditer(body):
        kind = body[piece.start()]
        if kind == _OPENING:
            objects.append(set())
        elif kind == _CLOSING:
            objects.pop()
        elif piece[2] is not None:
            key = piece[1]
            if b"\\" in key:
                key = json.loads(b'"' + key + b'"').encode("utf-8", "surrogatepass")
            if key in objects[-1]:
                return True
            if len(objects[-1]) <= MAX_TAGS:
                objects[-1].add(key)
    return False


def _broken_rule(message: str) -> VaultError:
    """The error for a msgspec message. Only names of the contract are taken from it:
    its path is made of field names and indexes, never of keys that came from outside."""
    place = _PLACE.search(message)
    path = place[1].lstrip(".") if place else ""
    if missing := _MISSING.match(message):
        field = f"{path}.{missing[1]}" if path else missing[1]
        return malformed("required", "The field is required.", field)
    if message.startswith("Object contains unknown field"):
        return malformed("unknown_field", "The object has a field that is not known.", path)
    if expected := _TYPE.match(message):
        detail = f"The field must be: {expected[1].replace('|', 'or')}."
        return malformed("type", detail, path or "body")
    return malformed("type", "The field has the wrong type or is out of range.", path or "body")
