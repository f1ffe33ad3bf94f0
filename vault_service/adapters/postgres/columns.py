"""The kinds of columns that tables are made of."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import TEXT, TIMESTAMP


def text(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[str]:
    """A text, compared bytewise."""
    return sa.Column(name, TEXT(collation="C"), primary_key=primary_key, nullable=nullable)


def time(name: str, *, primary_key: bool = False, nullable: bool = False) -> sa.Column[object]:
    """A time, in UTC."""
    return sa.Column(name, TIMESTAMP(timezone=True), primary_key=primary_key, nullable=nullable)


def number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    """A whole number of 64 bits."""
    return sa.Column(name, sa.BigInteger, nullable=nullable)
