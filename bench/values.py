"""Synthetic card numbers: Luhn-valid, of a test range, without repeats."""

import json
import random
from collections.abc import Iterator

from vault_service.domain.luhn import luhn_valid


def card_numbers(seed: int) -> Iterator[str]:
    """Endless distinct 16-digit numbers, the same for the same seed."""
    order = random.Random(seed)  # synthetic data, not secrets
    start = order.randrange(10**9)
    for number in range(10**14):
        # An odd multiplier prime to 10 visits every number once, in no visible order.
        body = f"4{(start + number) * 7_368_787_397 % 10**14:014d}"
        yield next(body + digit for digit in "0123456789" if luhn_valid(body + digit))


def addresses(count: int) -> Iterator[str]:
    """Distinct e-mail addresses."""
    return (f"person{number:08d}@mail.example" for number in range(count))


def tokenize_body(values: list[str], data_class: str = "pan") -> bytes:
    """The JSON of a tokenize request for values of a class."""
    items = [{"data_class": data_class, "value": value} for value in values]
    return json.dumps({"items": items}, separators=(",", ":")).encode()


def detokenize_body(tokens: list[str]) -> bytes:
    """The JSON of a plain detokenize request."""
    items = [{"token": token, "form": "plain"} for token in tokens]
    return json.dumps({"purpose": "data_quality", "items": items}, separators=(",", ":")).encode()
