"""The composition root's part for the transparency log: what seals, signs, keeps and reads."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from vault_service.adapters.anchors.file import FileAnchor
from vault_service.adapters.anchors.s3 import S3Anchor
from vault_service.adapters.postgres.engine import Database
from vault_service.adapters.postgres.log_reader import PostgresLogReader
from vault_service.adapters.postgres.sealing_log import PostgresSealingLog
from vault_service.adapters.signing.aws import KmsSigningKey
from vault_service.adapters.signing.local import UnsafeLocalSigningKey
from vault_service.domain.ports import Clock
from vault_service.services.sealing import Sealer, SealingObserver
from vault_service.settings import Settings

_NOTHING: Final = timedelta()


@dataclass(slots=True)
class TransparencyLog:
    """The log of one process. ``origin`` is its name."""

    origin: str
    reader: PostgresLogReader
    signer: KmsSigningKey | UnsafeLocalSigningKey
    anchor: S3Anchor | FileAnchor
    sealer: Sealer
    clock: Clock

    async def unsealed(self) -> timedelta:
        """How old the oldest event is that is in no leaf yet; zero where all are."""
        since = await self.reader.unsealed_since()
        return _NOTHING if since is None else max(self.clock() - since, _NOTHING)

    def close(self) -> None:
        """Let the threads end that talk to AWS."""
        self.signer.close()
        self.anchor.close()


def transparency_log(
    settings: Settings,
    database: Database,
    sealing: Database,
    observer: SealingObserver,
    clock: Clock,
) -> TransparencyLog:
    """The log on these settings, sealed and read whole by way of ``sealing``;
    :class:`ConfigurationError` for an unusable signing key."""
    signer, anchor = signing_key(settings), checkpoint_anchor(settings)
    return TransparencyLog(
        origin=settings.audit_origin,
        reader=PostgresLogReader(database, sealing),
        signer=signer,
        anchor=anchor,
        sealer=Sealer(
            PostgresSealingLog(sealing),
            signer,
            anchor,
            observer,
            origin=settings.audit_origin,
            clock=clock,
        ),
        clock=clock,
    )


def signing_key(settings: Settings) -> KmsSigningKey | UnsafeLocalSigningKey:
    """What signs checkpoints."""
    if settings.audit_signing_key_arn:
        return KmsSigningKey(settings.audit_signing_key_arn, settings.audit_origin)
    return UnsafeLocalSigningKey(settings.signing_key_path, settings.audit_origin)


def checkpoint_anchor(settings: Settings) -> S3Anchor | FileAnchor:
    """Where copies of checkpoints are kept (PCI-DSS 10.3.3)."""
    if not settings.audit_anchor:
        return FileAnchor(settings.anchor_path)
    return S3Anchor.at(settings.audit_anchor, settings.audit_anchor_days)
