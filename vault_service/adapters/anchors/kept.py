"""What is the same in every place where checkpoints are kept."""

from typing import Final

import structlog

from vault_service.domain.errors import CheckpointConflict
from vault_service.domain.notes import MAX_NOTE_BYTES, NoteMalformed, parse_note

READ_LIMIT: Final = MAX_NOTE_BYTES + 1
"""Bytes of a kept checkpoint to read: one more than a note can have."""

_log = structlog.get_logger("strongroom.anchors")


def decoded(kept: bytes) -> str:
    """A kept checkpoint as text. Bytes that are no UTF-8 are replaced, and what they stand
    in is then no note or does not verify."""
    return kept.decode(errors="replace")


def compare(size: int, kept: bytes, signed: str) -> None:
    """Raise :class:`CheckpointConflict`, and say so in the log, unless ``kept`` says of the
    tree of ``size`` leaves what ``signed`` says.

    The texts are compared, not the signatures, of which one text has many.
    """
    try:
        same = parse_note(decoded(kept)).text == parse_note(signed).text
    except NoteMalformed:
        same = False
    if not same:
        _log.critical("checkpoint_conflict", size=size)
        raise CheckpointConflict
