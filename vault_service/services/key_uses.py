"""Counting the uses of a data key (NIST SP 800-38D 8.3)."""

import asyncio
from dataclasses import dataclass, field

from vault_service.domain.ciphertext import RecordCipher


@dataclass(slots=True)
class UseCounter:
    """Uses of the key ``key_id`` that are counted in the database and not yet made.

    ``lock`` is held while more are counted, so that one block is added at a time.
    """

    key_id: int
    left: int = 0
    lock: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to encrypt under the newest key of a class, for a moment."""

    cipher: RecordCipher
    uses: UseCounter

    def take(self, count: int) -> bool:
        """Take ``count`` uses; ``False`` (and nothing taken) where too few are left."""
        if count < 0:
            raise ValueError("a number of uses is not negative")
        if self.uses.left < count:
            return False
        self.uses.left -= count
        return True
