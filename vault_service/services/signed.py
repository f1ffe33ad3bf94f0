"""Waits for what is recorded to be sealed and signed, and asks the sealer for it."""

import asyncio
from typing import Final

from vault_service.domain.transparency import LogReader, StoredCheckpoint

WAIT_SECONDS: Final = 5.0
"""How long a request waits: several rounds of a sealer that is at work."""
POLL_SECONDS: Final = 0.1


async def signed_tree(
    reader: LogReader, size: int, seconds: float = WAIT_SECONDS
) -> StoredCheckpoint | None:
    """The newest checkpoint, once it signs at least ``size`` leaves; after ``seconds`` the
    one that there is by then, if any."""
    deadline = asyncio.get_running_loop().time() + seconds
    newest = await reader.newest_checkpoint()
    if newest is None or newest.size < size:
        await reader.want(size)
    while newest is None or newest.size < size:
        if asyncio.get_running_loop().time() > deadline:
            break
        await asyncio.sleep(POLL_SECONDS)
        newest = await reader.newest_checkpoint()
    return newest
