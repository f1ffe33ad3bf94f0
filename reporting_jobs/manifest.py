"""A signed manifest against the log's key and the sealed output, offline.

Asks no network, vault or cloud, and opens nothing: who verifies need not be the recipient.
What is verified is that the holder of the log's key signed that this run of this report was
finished with exactly these bytes, and a checkpoint of the log that this key signed too.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO, Final

from reporting_jobs.byte_stream import stream_of
from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.domain.report_notes import Manifest, open_manifest

_PIECE_BYTES: Final = 1 << 20


class FileDiffers(Exception):
    """The sealed file is not the one that the manifest is of."""


@dataclass(frozen=True, slots=True)
class Piece:
    """One sealed message of an output, of this SHA-256 (hex) and ``length``; ``place`` is
    its part of how many (``3/12``), ``None`` where the output is one message."""

    place: str | None
    sha256: str | None
    length: int

    def stream(self, output: BinaryIO) -> BinaryIO:
        """The message, read from the output where that stands now. What is shorter than the
        manifest says ends early."""
        return stream_of(_limited(output, self.length))


def pieces_of(manifest: Manifest, part: int | None = None) -> Sequence[Piece]:
    """The messages that the output is made of, in order, or that of one ``part`` (from 1)
    alone; :class:`FileDiffers` where it has no such part."""
    if not manifest.parts and part is None:
        return [Piece(None, manifest.output_sha256, manifest.output_bytes)]
    count = len(manifest.parts)
    found = [
        Piece(f"{number}/{count}", each.sha256, each.bytes)
        for number, each in enumerate(manifest.parts, start=1)
        if part in (None, number)
    ]
    if not found:
        raise FileDiffers("the output has no such part")
    return found


def verify(
    sealed: BinaryIO, note: str, key: VerifierKey, part: int | None = None
) -> tuple[Manifest, Checkpoint | None]:
    """The manifest, and the checkpoint of the log in it. ``sealed`` is the whole output, or
    that of one ``part``. Raises :class:`~vault_service.domain.notes.NoteError` where either
    is not signed by ``key``, and :class:`FileDiffers` for another file, another order of its
    parts among them."""
    manifest = open_manifest(note, key)
    checkpoint = None if manifest.checkpoint is None else open_checkpoint(manifest.checkpoint, key)
    for piece in pieces_of(manifest, part):
        digest, length = hashlib.sha256(), 0
        for read in _limited(sealed, piece.length):
            digest.update(read)
            length += len(read)
        if (length, digest.hexdigest()) != (piece.length, piece.sha256):
            raise FileDiffers("the file is not the one that the manifest is of")
    if sealed.read(1):
        raise FileDiffers("the file goes on after its end")
    return manifest, checkpoint


def _limited(source: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (read := source.read(min(length, _PIECE_BYTES))):
        length -= len(read)
        yield read
