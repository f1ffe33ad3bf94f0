"""What is told of stored tokens without a value: to jobs, and in reports."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec


class TokenEntry(msgspec.Struct, frozen=True):
    """What is stored beside a value, for one of the people it belongs to. Times are in
    UTC. A struct, since reports read millions of these."""

    token: str
    data_class: str
    subject: str | None
    tags: Mapping[str, str]
    created_at: datetime
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holding:
    """How many tokens of a class lie under one key: a row of the inventory. ``tags`` are
    the class's. Ages are those of the key and of the oldest token; ``overdue`` have
    outlived expiry or retention. ``wrapping_key`` is what wraps the key: a KMS key's ARN or
    the local root key; empty where that is not told."""

    data_class: str
    tags: tuple[str, ...]
    key_id: int
    epoch: int
    key_state: str
    key_created_at: datetime
    tokens: int
    subjects: int
    oldest: datetime
    newest: datetime
    overdue: int
    retention_days: int | None
    wrapping_key: str = ""
