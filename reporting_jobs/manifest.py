"""A signed manifest against the log's key and the sealed file, offline.

Asks no network, vault or cloud, and opens nothing: who verifies need not be the recipient.
What is verified is that the holder of the log's key signed that this run of this report was
finished with exactly these bytes, and a checkpoint of the log that this key signed too.
"""

import hashlib
from typing import BinaryIO, Final

from vault_service.domain.checkpoints import Checkpoint, open_checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.domain.report_notes import Manifest, open_manifest

_PIECE_BYTES: Final = 1 << 20


class FileDiffers(Exception):
    """The sealed file is not the one that the manifest is of."""


def verify(sealed: BinaryIO, note: str, key: VerifierKey) -> tuple[Manifest, Checkpoint | None]:
    """The manifest, and the checkpoint of the log in it. Raises
    :class:`~vault_service.domain.notes.NoteError` where either is not signed by ``key``, and
    :class:`FileDiffers` for another file."""
    manifest = open_manifest(note, key)
    checkpoint = None if manifest.checkpoint is None else open_checkpoint(manifest.checkpoint, key)
    digest, length = hashlib.sha256(), 0
    while piece := sealed.read(_PIECE_BYTES):
        digest.update(piece)
        length += len(piece)
    if (length, digest.hexdigest()) != (manifest.output_bytes, manifest.output_sha256):
        raise FileDiffers("the file is not the one that the manifest is of")
    return manifest, checkpoint
