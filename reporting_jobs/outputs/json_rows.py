"""JSON as one object a line (NDJSON), in the order of the definition's columns.

Not one array: a reader can take a file of any size line by line, and one that was cut short
is told from a whole one at the last line.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from reporting_jobs.outputs.checking import CheckedRows

_PIECE_BYTES: Final = 1 << 16


def pieces(rows: CheckedRows) -> Iterator[bytes]:
    """The file, in pieces of some 64 KiB."""
    encode = msgspec.json.Encoder().encode_into
    buffer, line = bytearray(), bytearray()
    for row in rows:
        encode(dict(zip(rows.columns, row, strict=True)), line)
        buffer += line
        buffer += b"\n"
        if len(buffer) >= _PIECE_BYTES:
            yield bytes(buffer)
            buffer.clear()
    if buffer:
        yield bytes(buffer)
