"""The leaves of a bundle against the signed checkpoints, and against the one kept."""

from dataclasses import dataclass

from vault_service.domain import bundle
from vault_service.domain.checkpoints import Checkpoint, OriginMismatch, open_checkpoint
from vault_service.domain.merkle import Frontier, ProofInvalid, verify_consistency
from vault_service.domain.notes import (
    NoteError,
    NoteMalformed,
    SignatureInvalid,
    UnknownKey,
    VerifierKey,
)
from vault_service.verifier.findings import Findings, Kind


@dataclass(frozen=True, slots=True)
class _Head:
    """A checkpoint line that was read; the root is unknown where nobody vouches for it and
    it could not be computed."""

    size: int
    root: bytes | None


class TreeCheck:
    """Grows the tree from the header's ``left`` by the leaves' sealed hashes, and holds its
    root against each checkpoint (RFC 6962 2.1). ``kept`` is a signed checkpoint that the
    auditor has from before. Raises :class:`~vault_service.domain.bundle.BundleMalformed`
    where the header cannot be one, and
    :class:`~vault_service.domain.notes.NoteMalformed` where ``kept`` is none."""

    def __init__(
        self, header: bundle.Header, key: VerifierKey, kept: str | None, findings: Findings
    ) -> None:
        self._header = header
        self._key = key
        self._findings = findings
        # Both are None once a leaf is missing: what follows has no place in the tree then.
        self._next: int | None = header.first
        self._frontier: Frontier | None = _frontier(header)
        self._roots: dict[int, bytes] = {}
        self._previous: _Head | None = None
        self.newest: Checkpoint | None = None
        self.signed = 0
        self.kept = None if kept is None else self._open_kept(kept)
        self._since = header.since if isinstance(header.since, bundle.Since) else None
        self._wanted = {old.size for old in (self.kept, self._since) if old is not None}
        self._remember_root()

    def leaf(self, index: int, leaf_hash: bytes, line: int) -> None:
        """The next leaf's line."""
        if index != self._next:
            self._misplaced(index, line)
        self._next = index + 1 if self._next is None else max(self._next, index + 1)
        if self._frontier is not None:
            self._frontier.append(leaf_hash)
            if self._next in self._wanted:
                self._remember_root()

    def lost(self) -> None:
        """A line that could not be read may have been a leaf's."""
        self._next = self._frontier = None

    def checkpoint(self, line: bundle.Checkpoint, number: int) -> None:
        """A checkpoint's line."""
        signed = self._open(line, number)
        previous, size = self._previous, line.size
        if signed is not None and signed.size != size:
            self._findings.add(
                Kind.CHECKPOINT_INCONSISTENT,
                f"The checkpoint says {signed.size} leaves, its line {size}.",
                line=number,
            )
            return
        if previous is not None and size <= previous.size:
            self._findings.add(
                Kind.CHECKPOINT_SHRINKS,
                f"The checkpoint at {size} leaves follows one at {previous.size}.",
                line=number,
            )
            return
        computed = self._root_at(size, number)
        if signed is not None:
            self.signed += 1
            self.newest = signed
            if computed is not None and computed != signed.root:
                start = self._header.first if previous is None else previous.size
                self._findings.add(
                    Kind.ROOT_DIFFERS,
                    f"Leaves {start} to {size - 1} are not those that the checkpoint at {size}"
                    " leaves signs.",
                    leaf=start,
                    line=number,
                )
                self._frontier = None
        root = computed if signed is None else signed.root
        self._check_consistency(previous, _Head(size, root), line, number)
        self._previous = _Head(size, root)

    def finish(self) -> None:
        """Every line was read."""
        previous, end = self._previous, self._next
        if previous is None:
            self._findings.add(Kind.NOTHING_SIGNED, "The bundle holds no checkpoint.")
        elif end is not None and end > previous.size:
            self._findings.add(
                Kind.NOT_COVERED,
                f"Leaves {previous.size} to {end - 1} stand after the last checkpoint: nothing"
                " signs them.",
                leaf=previous.size,
            )
        if self.kept is not None and self.kept.size > 0:
            self._compare_kept(self.kept)
        since = self._since
        if since is not None and since.size > 0:
            old = self._roots.get(since.size)
            if old is not None and not self._extends(since, old):
                self._findings.add(
                    Kind.PROOF_INVALID,
                    f"The header's consistency proof from {since.size} leaves does not hold.",
                    line=1,
                )

    def _misplaced(self, index: int, line: int) -> None:
        expected = self._next
        if expected is None:
            return
        self._frontier = None
        if index > expected:
            self._leaves_missing(expected, index, line)
        else:
            self._findings.add(
                Kind.LEAVES_OUT_OF_ORDER,
                f"Leaf {index} stands where leaf {expected} should.",
                leaf=index,
                line=line,
            )

    def _leaves_missing(self, start: int, end: int, line: int) -> None:
        what = f"Leaf {start} is" if end == start + 1 else f"Leaves {start} to {end - 1} are"
        self._findings.add(Kind.LEAVES_MISSING, f"{what} not in the bundle.", leaf=start, line=line)

    def _open(self, line: bundle.Checkpoint, number: int) -> Checkpoint | None:
        try:
            return open_checkpoint(line.note, self._key, self._header.origin)
        except SignatureInvalid:
            kind, what = Kind.SIGNATURE_INVALID, "has a signature that does not verify"
        except UnknownKey:
            kind, what = Kind.UNKNOWN_KEY, "is not signed by the given key"
        except OriginMismatch:
            kind, what = Kind.OTHER_LOG, "is of another log than the header names"
        except NoteError:
            kind, what = Kind.MALFORMED, "is no checkpoint"
        self._findings.add(kind, f"The checkpoint at {line.size} leaves {what}.", line=number)
        return None

    def _root_at(self, size: int, line: int) -> bytes | None:
        """The computed root where the leaves up to ``size`` stand above, and no more."""
        if self._next is not None and size != self._next:
            if size > self._next:
                self._leaves_missing(self._next, size, line)
                self._next, self._frontier = size, None
            else:
                self._findings.add(
                    Kind.MALFORMED,
                    f"The checkpoint at {size} leaves stands after leaf {self._next - 1}.",
                    line=line,
                )
            return None
        return None if self._frontier is None else self._frontier.root()

    def _check_consistency(
        self, old: _Head | None, new: _Head, line: bundle.Checkpoint, number: int
    ) -> None:
        if old is None:
            if line.consistency:
                self._findings.add(
                    Kind.PROOF_INVALID,
                    "The first checkpoint has a consistency proof from none.",
                    line=number,
                )
            return
        if old.root is None or new.root is None or old.size == 0:
            return
        try:
            verify_consistency(old.size, old.root, new.size, new.root, line.consistency)
        except ProofInvalid:
            self._findings.add(
                Kind.CHECKPOINT_INCONSISTENT,
                f"The checkpoint at {new.size} leaves is not shown to extend that at {old.size}:"
                " the log was rewritten between them, or the proof is not theirs.",
                line=number,
            )

    def _open_kept(self, kept: str) -> Checkpoint | None:
        try:
            return open_checkpoint(kept, self._key, self._header.origin)
        except NoteMalformed:
            raise
        except OriginMismatch:
            self._findings.add(Kind.OTHER_LOG, "The kept checkpoint is of another log.")
        except NoteError:
            self._findings.add(
                Kind.KEPT_UNSIGNED, "The kept checkpoint is not signed by the given key."
            )
        return None

    def _compare_kept(self, kept: Checkpoint) -> None:
        size, end, since = kept.size, self._next, self._since
        root = self._roots.get(size)
        if end is not None and size > end:
            self._findings.add(
                Kind.LOG_ROLLED_BACK,
                f"The kept checkpoint has {size} leaves, the log here {end}: it was rolled back,"
                " unless this bundle was made before that checkpoint or ends earlier on purpose.",
            )
        elif root is not None and root != kept.root:
            self._rewritten(size)
        elif root is None and since is not None and since.size == size:
            if not self._extends(since, kept.root):
                self._rewritten(size)
        elif root is None:
            self._findings.add(
                Kind.KEPT_UNPROVEN,
                f"The kept checkpoint at {size} leaves cannot be compared: the bundle holds"
                " neither the leaves around it nor a proof from it.",
            )

    def _rewritten(self, size: int) -> None:
        self._findings.add(
            Kind.LOG_REWRITTEN,
            f"The log does not extend the kept checkpoint: among its first {size} leaves some"
            " were changed since.",
        )

    def _extends(self, since: bundle.Since, old_root: bytes) -> bool:
        newest, last = self.newest, self._previous
        if newest is None or last is None or newest.size != last.size:
            # The proof leads to a checkpoint that nobody vouches for, which was found already.
            return True
        try:
            verify_consistency(since.size, old_root, newest.size, newest.root, since.consistency)
        except ProofInvalid:
            return False
        return True

    def _remember_root(self) -> None:
        if self._frontier is not None and self._frontier.size in self._wanted:
            self._roots[self._frontier.size] = self._frontier.root()


def _frontier(header: bundle.Header) -> Frontier:
    try:
        return Frontier(header.first, header.left)
    except ValueError:
        raise bundle.BundleMalformed("the header's left edge is not one") from None
