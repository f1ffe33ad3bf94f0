"""Synthetic bundles: a log of invented events, sealed and signed as the service does it.

The key is derived from a constant and signs nothing else.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

from tests.reference_log import key_of
from vault_service.domain import bundle
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.events import AuditEvent, EventGroup, canonical_bytes
from vault_service.domain.log_proofs import LogProof
from vault_service.domain.merkle import (
    NodeReader,
    consistency_proof,
    frontier_nodes,
    inclusion_proof,
    leaf_hash,
    node_hash,
    tree_root,
)
from vault_service.domain.notes import VerifierKey, sign_line
from vault_service.verifier.bundles import BundleReport, verify_bundle

ORIGIN: Final = "vault.example/audit"
START: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, slots=True)
class Signer:
    """A throwaway P-256 key under the log's name."""

    private: ec.EllipticCurvePrivateKey

    @property
    def key(self) -> VerifierKey:
        return key_of(self.private, ORIGIN)

    def note(self, text: str) -> str:
        signature = self.private.sign(text.encode(), ec.ECDSA(SHA256(), deterministic_signing=True))
        return f"{text}\n{sign_line(self.key.name, self.key.key_id, signature)}"


SIGNER: Final = Signer(ec.derive_private_key(77215664, ec.SECP256R1()))
OTHER_SIGNER: Final = Signer(ec.derive_private_key(27182818, ec.SECP256R1()))
KEY: Final = SIGNER.key


def event(number: int, **changes: Any) -> AuditEvent:
    """The ``number``-th invented event: one a second, each of its own."""
    digits = [_ALPHABET[number >> 5 * place & 31] for place in reversed(range(26))]
    made = AuditEvent(
        id="evt_" + "".join(digits),
        occurred_at=START + timedelta(seconds=number),
        tenant="main",
        principal="chargeback-service",
        action="detokenize",
        outcome="ok",
        request_id=f"req_{number}",
        policy_hash="ab" * 32,
        purpose="chargeback",
        groups=(EventGroup("ok", "pan", "plain", tokens=(f"tok_pan_{number}",), count=1),),
        item_count=1,
        inputs={"type": "service"},
    )
    return replace(made, **changes)


def events(count: int) -> list[AuditEvent]:
    """The first ``count`` invented events."""
    return [event(number) for number in range(count)]


class SealedLog:
    """A log with all its events sealed; each can be shown as a bundle or a receipt. Bytes
    stand for themselves, as a vandal would have put them into the table."""

    def __init__(self, sealed: Iterable[AuditEvent | bytes], signer: Signer = SIGNER) -> None:
        self.events = list(sealed)
        self.bodies = [
            each if isinstance(each, bytes) else canonical_bytes(each) for each in self.events
        ]
        self.hashes = [leaf_hash(body) for body in self.bodies]
        self.signer = signer
        self.node = _nodes(self.hashes)

    def checkpoint(self, size: int) -> str:
        """The signed checkpoint at ``size`` leaves."""
        return self.signer.note(Checkpoint(ORIGIN, size, tree_root(size, self.node)).text())

    def extension(self, old: int, new: int) -> tuple[bytes, ...]:
        """The consistency proof between two sizes."""
        return tuple(consistency_proof(old, new, self.node))

    def receipt(self, leaf: int, size: int | None = None) -> str:
        """The proof of an event, with the event."""
        size = len(self.events) if size is None else size
        path = tuple(inclusion_proof(leaf, size, self.node))
        return LogProof(leaf, path, self.checkpoint(size), self.bodies[leaf]).encode()

    def export(
        self,
        sizes: Sequence[int] = (),
        *,
        first: int = 0,
        scope: str = "all",
        since: int | None = None,
        unsealed: Sequence[AuditEvent] = (),
        withheld: dict[int, bundle.Reason] | None = None,
    ) -> list[bytes]:
        """The lines of a bundle from leaf ``first`` on, with checkpoints at ``sizes`` (by
        default at the end) and ``withheld`` leaves beside those of other tenants."""
        sizes = sizes or [len(self.events)]
        header = bundle.Header(
            v=1,
            origin=ORIGIN,
            scope=scope,
            first=first,
            left=tuple(frontier_nodes(first, self.node)),
            key=self.signer.key.encode(),
        )
        if since is not None:
            told = bundle.Since(since, self.extension(since, sizes[-1]))
            header = msgspec.structs.replace(header, since=told)
        lines: list[bundle.Line] = [header]
        previous: int | None = None
        for leaf in range(first, len(self.events)):
            lines.append(self._line(leaf, scope, withheld or {}))
            if leaf + 1 in sizes:
                proof = () if previous is None else self.extension(previous, leaf + 1)
                lines.append(bundle.Checkpoint(leaf + 1, proof, self.checkpoint(leaf + 1)))
                previous = leaf + 1
        lines += [bundle.Unsealed(canonical_bytes(each)) for each in unsealed]
        shown = sum(isinstance(line, bundle.Event) for line in lines)
        lines.append(bundle.End(len(self.events) - first, shown, len(unsealed)))
        return [bundle.encode(line) for line in lines]

    def _line(
        self, leaf: int, scope: str, withheld: dict[int, bundle.Reason]
    ) -> bundle.Event | bundle.Withheld:
        why = withheld.get(leaf)
        shown = self.events[leaf]
        if why is None and isinstance(shown, AuditEvent) and scope not in ("all", shown.tenant):
            why = "tenant"
        if why is not None:
            return bundle.Withheld(leaf, self.hashes[leaf], why)
        return bundle.leaf_line(leaf, self.hashes[leaf], self.bodies[leaf])


def verified(lines: Iterable[bytes], kept: str | None = None) -> BundleReport:
    """What the verifier says of a bundle of these lines."""
    return verify_bundle(BytesIO(b"".join(lines)), KEY, kept)


def edited(line: bytes, change: Callable[[dict[str, Any]], None]) -> bytes:
    """The line with its JSON changed, in canonical spelling."""
    body = json.loads(line)
    change(body)
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def _nodes(hashes: Sequence[bytes]) -> NodeReader:
    levels = [list(hashes)]
    while len(levels[-1]) > 1:
        below = levels[-1]
        levels.append([node_hash(below[at], below[at + 1]) for at in range(0, len(below) - 1, 2)])
    return lambda level, index: levels[level][index]
