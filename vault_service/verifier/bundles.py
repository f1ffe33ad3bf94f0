"""Verifies an export bundle in one pass.

Holds one line at a time, the tree's right edge and a few bytes of each event's id.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import BinaryIO, Final

from vault_service.domain import bundle
from vault_service.domain.bundle import BundleMalformed
from vault_service.domain.checkpoints import Checkpoint
from vault_service.domain.notes import VerifierKey
from vault_service.verifier.events import Backdated, EventCheck, Stretch
from vault_service.verifier.findings import Finding, Findings, Kind, Verdict, printable
from vault_service.verifier.tree import TreeCheck

_PROGRESS_LINES: Final = 4096


@dataclass(frozen=True, slots=True)
class BundleReport:
    """What a bundle showed. ``first`` is its first leaf; ``leaves`` are shown as ``events``
    or ``withheld``, by reason; ``earliest`` and ``latest`` are times of sealed events (UTC),
    ``backdated`` those that are out of order. ``checkpoint`` is the largest that the key
    signed, of ``checkpoints`` in all; ``kept`` the auditor's own. ``left_out`` findings were
    beyond the limit."""

    verdict: Verdict
    findings: Sequence[Finding]
    left_out: int
    origin: str
    scope: str
    first: int
    leaves: int
    events: int
    withheld: Mapping[str, Stretch]
    unsealed: int
    earliest: datetime | None
    latest: datetime | None
    backdated: Backdated | None
    checkpoints: int
    checkpoint: Checkpoint | None
    kept: Checkpoint | None


def verify_bundle(
    stream: BinaryIO,
    key: VerifierKey,
    kept: str | None = None,
    progress: Callable[[int], None] = lambda read: None,
) -> BundleReport:
    """Verify the bundle in ``stream`` with the pinned ``key`` and, where there is one, a
    signed checkpoint that was ``kept``. ``progress`` is told now and then how many bytes
    were read. What is wrong is in the report, whatever the file holds;
    :class:`~vault_service.domain.notes.NoteMalformed` where ``kept`` is no signed note.
    """
    findings = Findings()
    try:
        header = bundle.decode(stream.readline(bundle.MAX_LINE_BYTES + 1))
        if not isinstance(header, bundle.Header):
            raise BundleMalformed("the header is missing")
        reading = _Reading(header, key, kept, findings)
    except BundleMalformed as error:
        findings.add(Kind.MALFORMED, f"This is not a bundle: {error}.", line=1)
        return _nothing_read(findings)
    reading.read(stream, progress)
    return reading.report(header)


class _Reading:
    """A bundle that is being read, after its header."""

    def __init__(
        self, header: bundle.Header, key: VerifierKey, kept: str | None, findings: Findings
    ) -> None:
        self._findings = findings
        self._tree = TreeCheck(header, key, kept, findings)
        self._events = EventCheck(header.scope, findings)
        self._leaves = 0
        self._leaves_over = False
        self._end: bundle.End | None = None
        if header.key != key.encode():
            findings.add(
                Kind.UNKNOWN_KEY,
                f"The bundle names another key than the given one: {printable(header.key)}",
                line=1,
            )

    def read(self, stream: BinaryIO, progress: Callable[[int], None]) -> None:
        """Read to the end of the file, or to a line that is too long to be one."""
        tree, shown = self._tree, self._events.shown
        number, size = 1, 0
        while raw := stream.readline(bundle.MAX_LINE_BYTES + 1):
            number += 1
            size += len(raw)
            if number % _PROGRESS_LINES == 0:
                progress(size)
            try:
                line = bundle.decode(raw)
                if isinstance(line, bundle.Event) and not self._leaves_over:
                    self._leaves += 1
                    shown(line, number)
                    tree.leaf(line.leaf, line.hash, number)
                else:
                    self._take(line, number)
            except BundleMalformed as error:
                self._findings.add(
                    Kind.MALFORMED, f"Line {number} cannot be read: {error}.", line=number
                )
                tree.lost()
                if len(raw) > bundle.MAX_LINE_BYTES:
                    break
        self._finish()

    def report(self, header: bundle.Header) -> BundleReport:
        """What was found."""
        findings, events, tree = self._findings, self._events, self._tree
        return BundleReport(
            verdict=findings.verdict,
            findings=findings.kept,
            left_out=findings.left_out,
            origin=header.origin,
            scope=header.scope,
            first=header.first,
            leaves=self._leaves,
            events=events.events,
            withheld=events.withheld,
            unsealed=events.unsealed,
            earliest=events.earliest,
            latest=events.latest,
            backdated=events.backdated,
            checkpoints=tree.signed,
            checkpoint=tree.newest,
            kept=tree.kept,
        )

    def _take(self, line: bundle.Line, number: int) -> None:
        if self._end is not None:
            raise BundleMalformed("it stands after the end")
        if isinstance(line, bundle.End):
            self._end, self._leaves_over = line, True
        elif isinstance(line, bundle.Unsealed):
            self._leaves_over = True
            self._events.unsealed_event(line, number)
        elif self._leaves_over or isinstance(line, bundle.Header):
            raise BundleMalformed("it stands in the wrong place")
        elif isinstance(line, bundle.Checkpoint):
            self._tree.checkpoint(line, number)
        elif isinstance(line, bundle.Withheld):
            self._leaves += 1
            self._events.withheld_leaf(line, number)
            self._tree.leaf(line.leaf, line.hash, number)

    def _finish(self) -> None:
        self._events.finish()
        self._tree.finish()
        counted = (self._leaves, self._events.events, self._events.unsealed)
        if self._end is None:
            self._findings.add(Kind.CUT_OFF, "The bundle has no last line: it was cut off.")
        elif (self._end.leaves, self._end.events, self._end.unsealed) != counted:
            self._findings.add(
                Kind.COUNTS_DIFFER,
                f"The last line counts {self._end.leaves} leaves, {self._end.events} events and"
                f" {self._end.unsealed} unsealed ones; there are {counted[0]}, {counted[1]} and"
                f" {counted[2]}.",
            )


def _nothing_read(findings: Findings) -> BundleReport:
    return BundleReport(
        findings.verdict, findings.kept, 0, "", "", 0, 0, 0, {}, 0, None, None, None, 0, None, None
    )
