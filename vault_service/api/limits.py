"""What is taken from a request before any handler sees it, and within which limits.

Sizes are checked before anything is parsed; headers, paths and queries, which others
write down on the way, may hold nothing that the vault is there to hide.
"""

import re
from collections.abc import Mapping
from secrets import token_hex
from typing import Final
from urllib.parse import parse_qsl

from starlette.types import Receive

from vault_service.api.wire import MAX_BODY, malformed
from vault_service.domain.detection import looks_like_card_number
from vault_service.domain.errors import Code, VaultError
from vault_service.domain.report_runs import RUN_HEADER, RUN_ID
from vault_service.domain.sad import sensitive_in_metadata

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SINGLE: Final = frozenset(
    {
        *(b"authorization", b"content-type", b"content-length", b"idempotency-key"),
        *(b"x-request-id", RUN_HEADER.encode()),
    }
)


def request_id_of(header: bytes | None) -> str:
    """The caller's request id where it may be kept in clear, else a fresh one."""
    if header is not None:
        text = header.decode("latin-1")
        if _REQUEST_ID.fullmatch(text) and not (
            looks_like_card_number(text) or sensitive_in_metadata(text)
        ):
            return text
    return f"req_{token_hex(12)}"


def run_of(headers: Mapping[bytes, bytes]) -> str | None:
    """The report run that a job reads for, if it named one; ``invalid_request`` for what
    is no run's id."""
    header = headers.get(RUN_HEADER.encode())
    if header is None:
        return None
    text = header.decode("latin-1")
    if RUN_ID.fullmatch(text) is None:
        raise malformed("format", "A run's id is run_ and 26 characters.", "X-Strongroom-Run")
    return text


def refuse_sensitive(text: str, field: str) -> None:
    """Refuse a card number where the URL is written down by every proxy on the way."""
    if looks_like_card_number(text):
        error = malformed("no_card_number", "URLs must not hold card numbers.", field)
        raise VaultError(Code.SENSITIVE_VALUE_IN_METADATA, error.detail, errors=error.errors)


def refuse_repeats(headers: list[tuple[bytes, bytes]]) -> None:
    """A header that decides something must stand once: which of two would hold is what
    request smuggling lives on (RFC 9110 5.3)."""
    seen: set[bytes] = set()
    for name, _ in headers:
        if name in _SINGLE and name in seen:
            raise malformed("duplicate_header", "The header stands twice.", name.decode())
        seen.add(name)


def read_query(raw: bytes, parameters: frozenset[str]) -> dict[str, str]:
    """The query's parameters; ``invalid_request`` for one that is not among
    ``parameters``, stands twice or is malformed."""
    if not raw:
        return {}
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, strict_parsing=True, errors="strict"
        )
    except ValueError:
        raise malformed("query", "The query string is malformed.", "query") from None
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in parameters:
            raise malformed("unknown_field", "The query has an unknown parameter.", "query")
        if name in found:
            raise malformed("duplicate_key", "A parameter stands twice.", name)
        refuse_sensitive(value, name)
        found[name] = value
    return found


def whole_number(text: str, name: str) -> int:
    """The number that a parameter gives, in up to 18 digits; ``invalid_request`` for
    anything else."""
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise malformed("type", "The parameter must be a whole number.", name)
    return int(text)


async def read_body(headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
    """The whole body; ``payload_too_large`` as soon as it is known to be."""
    encoding = headers.get(b"content-encoding", b"").strip().lower()
    if encoding not in (b"", b"identity"):
        # What unpacks to more than the limit would have to be unpacked to be known.
        raise malformed("content_encoding", "Send the body uncompressed.", "Content-Encoding")
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > MAX_BODY:
        raise _too_large()
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        if len(body) > MAX_BODY:
            raise _too_large()
        return body
    parts = [body]
    size = len(body)
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            raise malformed("incomplete", "The body ended early.")
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _too_large() -> VaultError:
    return VaultError(Code.PAYLOAD_TOO_LARGE, "A body has at most 16 MiB; split the request.")
