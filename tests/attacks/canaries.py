"""Canaries, and request bodies with one in every place of them.

Canaries are card numbers that begin with ``PAN`` and words that hold ``WORD``; each is
used once. A word goes only where the contract keeps nothing in clear.
"""

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pyarrow as pa

from tests.synthetic import luhn_digit

PAN: Final = "4929813607"
WORD: Final = "qzkolibri"
PURPOSE: Final = "data_quality"
_numbers = itertools.count(1)


def pan() -> str:
    """A card number of 16 digits that was not used before."""
    body = f"{PAN}{next(_numbers):05d}"
    return body + luhn_digit(body)


def wrong_pan() -> str:
    """The same with a wrong check digit: refused as a value."""
    number = pan()
    return number[:-1] + str((int(number[-1]) + 1) % 10)


def spaced() -> str:
    number = pan()
    return " ".join(number[at : at + 4] for at in range(0, 16, 4))


def word() -> str:
    return f"{WORD}{next(_numbers):05d}"


def item(**fields: Any) -> dict[str, Any]:
    return {"data_class": "pan", "value": "4111111111111111", **fields}


def batch(*items: Any, **fields: Any) -> bytes:
    return json.dumps({"items": list(items), **fields}).encode()


def arrow(columns: Mapping[str, list[Any]], metadata: Mapping[str, str] | None = None) -> bytes:
    table = pa.table(dict(columns)).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def metadata_bodies() -> Iterator[tuple[str, bytes]]:
    """Card numbers where the contract keeps clear text, words where it keeps none."""
    for text in (pan, spaced, lambda: f"ref-{pan()}", lambda: pan() + ".0"):
        yield "/v1/tokenize", batch(item(reference=text()))
        yield "/v1/tokenize", batch(item(subject=text()))
        yield "/v1/tokenize", batch(item(tags={"region": text()}))
        yield "/v1/tokenize", batch(item(tags={text(): "eu"}))
        yield "/v1/detokenize", batch({"token": text()}, purpose=PURPOSE)
        yield "/v1/detokenize", batch({"token": "x", "reference": text()}, purpose=PURPOSE)
        yield "/v1/detokenize", batch({"token": "x"}, purpose=PURPOSE, case=text())
        yield (
            "/v1/policy/explain",
            json.dumps(
                {"action": "tokenize", "data_class": "pan", "tags": {text(): text()}}
            ).encode(),
        )
    yield "/v1/detokenize", batch({"token": f"tok_pan_{pan()}"}, purpose=PURPOSE)
    for text in (pan, word):
        yield "/v1/tokenize", batch(item(data_class=text()))
        yield "/v1/tokenize", batch(item(), mode=text())
        yield "/v1/detokenize", batch({"token": "x"}, purpose=text())
        yield "/v1/detokenize", batch({"token": "x", "form": text()}, purpose=PURPOSE)
        yield "/v1/lookup", json.dumps({"data_class": text(), "value": text()}).encode()
        for field in ("action", "data_class", "form", "purpose"):
            asked = {"action": "detokenize", "data_class": "pan", "purpose": PURPOSE}
            yield "/v1/policy/explain", json.dumps({**asked, field: text()}).encode()


def value_bodies() -> Iterator[tuple[str, bytes]]:
    """Values that break the rule of their class."""
    track = f"%B{pan()}^{word()}/X^2512101123456789?"
    for data_class, value in (
        ("pan", wrong_pan()),
        ("pan", pan() + "77"),
        ("pan", word()),
        ("pan", track),
        ("free_text", track),
        ("free_text", f"{pan()}=25121010000000000000"),
        ("email", word()),
        ("email", f"{word()}@@{pan()}"),
        ("phone", f"+{pan()}99"),
        ("iban", f"DE00{pan()}"),
        ("us_ssn", word()),
        ("date_of_birth", word()),
        ("ip_address", word()),
        ("person_name", word() * 2000),
        ("person_name", word() + "\0"),
        ("cvv", word()),
        ("pan", ""),
    ):
        yield "/v1/tokenize", batch({"data_class": data_class, "value": value})
        yield "/v1/lookup", json.dumps({"data_class": data_class, "value": value}).encode()
    yield "/v1/tokenize", batch(item(value=wrong_pan()), item(value=pan()), mode="atomic")


def broken_bodies() -> Iterator[tuple[str, bytes]]:
    """Bodies that are no message at all, or not one of this route."""
    for path in ("/v1/tokenize", "/v1/detokenize", "/v1/lookup", "/v1/policy/explain"):
        for text in (pan, word):
            quoted = json.dumps(text()).encode()
            yield path, quoted
            yield path, b"[" + quoted + b"]"
            yield path, b'{"items": [{"data_class": "pan", "value": ' + quoted
            yield path, b'{"items": [{"value": ' + quoted + b"}}]"
            yield path, b"{" + quoted + b": 1}"
            yield path, b'{"items": ' + quoted + b"}"
            yield path, b'{"data_class": ' + quoted + b', "data_class": "pan", "value": "1"}'
            yield path, b'{"items": [{' + quoted + b': 1, "token": "x"}]}'
            yield path, b'{"items": [], ' + quoted + b": " + quoted + b"}"
            yield path, b'{"value": "\\ud800' + text().encode() + b'"}'
            yield path, b"\xff\xfe" + quoted
            yield path, text().encode() + b"\0"
            yield path, text().encode("utf-16")
            yield path, b'{"a":' * 2000 + quoted + b"}" * 2000
        yield path, pan().encode()
        yield path, b'{"items": [{"data_class": "pan", "value": ' + pan().encode() + b"}]}"
        yield path, b'{"data_class": "pan", "value": ' + pan().encode() + b".0}"
        yield path, b'{"items": [{"data_class": "pan", "value": ["' + pan().encode() + b'"]}]}'
    yield "/v1/tokenize", batch(item(expires_in=int(pan())))
    yield "/v1/tokenize", batch(item(expires_in=pan()))
    yield (
        "/v1/tokenize",
        b'{"items": [{"data_class": "pan", "value": "%b", "value": "%b"}]}'
        % (
            pan().encode(),
            pan().encode(),
        ),
    )
    yield "/v1/tokenize", batch(*[item(value=pan())] * 10_001)
    yield "/v1/tokenize", pan().encode() * (17 * 2**16)


def arrow_bodies() -> Iterator[tuple[str, bytes]]:
    """Arrow streams with something wrong in them, and streams that are none."""
    yield "/v1/tokenize", arrow({"data_class": ["pan"], "value": [wrong_pan()]})
    yield "/v1/tokenize", arrow({"data_class": [word()], "value": [pan()]})
    yield "/v1/tokenize", arrow({"data_class": ["pan"], "value": [int(pan())]})
    yield "/v1/tokenize", arrow({"data_class": ["pan"], "value": [pan()], word(): [pan()]})
    yield "/v1/tokenize", arrow({"data_class": ["pan"], "value": ["1"], "subject": [pan()]})
    yield "/v1/tokenize", arrow({"data_class": ["pan"], "value": [pan()]}, {"mode": word()})
    yield "/v1/tokenize", arrow({"data_class": ["pan"], "value": [pan()]})[:-30]
    yield "/v1/tokenize", word().encode() * 20
    yield "/v1/detokenize", arrow({"token": [pan()]}, {"purpose": PURPOSE})
    yield "/v1/detokenize", arrow({"token": ["x"]}, {"purpose": pan()})
    yield "/v1/detokenize", arrow({"token": ["x"]}, {"purpose": PURPOSE, "case": pan()})
