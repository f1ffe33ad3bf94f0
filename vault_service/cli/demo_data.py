"""Customers, cards and orders for the demo: synthetic, and the same at every run.

Card numbers are published test prefixes with random digits and a Luhn check digit.
"""

import csv
import os
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from vault_service.domain.luhn import luhn_valid

_SEED: Final = 20260401
_CUSTOMERS: Final = 400
_ORDERS: Final = 3000
_FIRST_DAY: Final = datetime(2026, 1, 1)  # noqa: DTZ001  # local to an invented shop
_MINUTES: Final = 90 * 24 * 60
_PREFIXES: Final = (
    ("411111", 16),
    ("424242", 16),
    ("555555", 16),
    ("510510", 16),
    ("378282", 15),
    ("601111", 16),
    ("353011", 16),
)
_FIRST_NAMES: Final = (
    "Ada Amara Bjørn Chloé Dario Edda Farid Grete Hana Iker Jana Kofi Lena Mateo Nadia Omar"
    " Priya Quentin Rosa Søren Tomás Uma Viktor Wanda Ximena Yusuf Zofia"
)
_LAST_NAMES: Final = (
    "Almeida Baker Castillo Dvořák Eriksen Fischer García Haddad Ivanova Jensen Kowalski"
    " Lindqvist Moreau Nakamura Okafor Petrov Quist Rossi Schmidt Tanaka Ueda Varga Weber"
    " Yılmaz Zhang"
)
_SHELVES: Final = ("books", "garden", "groceries", "music", "shoes", "toys", "travel")


@dataclass(frozen=True, slots=True)
class Shop:
    """The two files of an invented shop, with every value in plain sight."""

    customers: Path
    orders: Path
    cards: int
    order_count: int


def write_shop(folder: Path) -> Shop:
    """Write ``customers.csv`` (one line a card) and ``orders.csv`` into ``folder``, for
    this user's eyes alone."""
    chance = random.Random(_SEED)  # nosec B311 - invented data, the same at every run
    cards: list[str] = []
    customers = []
    for number in range(1, _CUSTOMERS + 1):
        name = f"{chance.choice(_FIRST_NAMES.split())} {chance.choice(_LAST_NAMES.split())}"
        for _ in range(chance.choice((1, 1, 1, 2))):
            cards.append(_card(chance, cards))
            customers.append(
                (
                    f"cus_{number}",
                    name,
                    f"customer{number}@shop.example.com",
                    cards[-1],
                )
            )
    orders = []
    for number in range(1, _ORDERS + 1):
        at = _FIRST_DAY + timedelta(minutes=chance.randrange(_MINUTES))
        amount = f"{chance.randint(3, 250)}.{chance.randrange(100):02d}"
        orders.append(
            (
                f"ord_{number}",
                at.isoformat(sep=" ", timespec="minutes"),
                chance.choice(_SHELVES),
                amount,
                # Every card is used at least once.
                cards[number - 1] if number <= len(cards) else chance.choice(cards),
            )
        )
    return Shop(
        _write(folder / "customers.csv", ("customer_id", "name", "email", "card"), customers),
        _write(folder / "orders.csv", ("order_id", "ordered", "shelf", "amount", "card"), orders),
        len(cards),
        len(orders),
    )


def _card(chance: random.Random, taken: Sequence[str]) -> str:
    while True:
        prefix, length = chance.choice(_PREFIXES)
        body = prefix + "".join(chance.choices("0123456789", k=length - len(prefix) - 1))
        number = next(body + digit for digit in "0123456789" if luhn_valid(body + digit))
        if number not in taken:
            return number


def _write(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    def private(name: str, flags: int) -> int:
        return os.open(name, flags, 0o600)

    with open(path, "w", encoding="utf-8", newline="", opener=private) as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
    return path
