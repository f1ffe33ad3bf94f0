"""Synthetic values for tests: seeded, so that a failure repeats, and nobody's."""

import csv
import random
from pathlib import Path
from typing import Final

from mimesis import Generic, Locale

VISA: Final = "4111111111111111"
"""The card number that every processor publishes for tests."""
MASTERCARD: Final = "5555555555554444"
AMEX: Final = "378282246310005"


def luhn_digit(digits: str) -> str:
    """The check digit that makes ``digits`` a card number (ISO/IEC 7812-1)."""
    total = 0
    for position, digit in enumerate(reversed(digits)):
        number = int(digit) * (2 if position % 2 == 0 else 1)
        total += number - 9 if number > 9 else number
    return str(-total % 10)


def cards(count: int, seed: int) -> list[str]:
    """``count`` distinct card numbers of 16 digits with right check digits."""
    source = random.Random(seed)
    found: dict[str, None] = {}
    while len(found) < count:
        body = "4" + "".join(source.choices("0123456789", k=14))
        found[body + luhn_digit(body)] = None
    return list(found)


def people(path: Path, count: int) -> Path:
    """A CSV file at ``path``: ``count`` people with their number, e-mail address and city."""
    fake = Generic(Locale.EN, seed=7)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", "email", "city"])
        for number in range(count):
            writer.writerow([number, f"{number}{fake.person.email()}", fake.address.city()])
    return path
