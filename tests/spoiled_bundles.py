"""What can be wrong with a bundle, one kind each, and what a verifier must make of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import msgspec

from tests.bundles import (
    OTHER_SIGNER,
    START,
    SealedLog,
    edited,
    event,
    events,
)
from vault_service.domain import bundle
from vault_service.domain.events import canonical_bytes
from vault_service.domain.merkle import leaf_hash

SIZES: Final = (40, 80, 120)
LOG: Final = SealedLog(events(120))
MIXED: Final = SealedLog(
    [event(number, tenant="main" if number % 3 else "other") for number in range(120)]
)
FORGED: Final = event(900, occurred_at=START - timedelta(hours=1), principal="auditor")
REWRITTEN: Final = [event(57, principal="auditor") if n == 57 else event(n) for n in range(120)]


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A bundle, the first finding it must lead to, its leaf, and the exit code."""

    name: str
    lines: list[bytes]
    kind: str
    exit_code: int
    leaf: int | None = None
    event_id: str | None = None
    kept: str | None = None


def good() -> list[bytes]:
    """The bundle that most of these were; leaf n below 40 is on line n + 2."""
    return LOG.export(SIZES)


def at(leaf: int) -> int:
    """Where in :func:`good` the leaf's line is, from 0."""
    return 1 + leaf + sum(leaf >= size for size in SIZES)


def spoiled() -> Iterator[Spoiled]:
    """Every kind. The first are what the database's superuser may try."""
    yield Spoiled("principal edited", _edited_body(), "event_altered", 1, 57, event(57).id)
    yield Spoiled("principal edited, and its leaf", _edited_leaf(), "root_differs", 1, 40)
    lines = LOG.export(SIZES, withheld={57: "missing"})
    yield Spoiled("one deleted", lines, "event_missing", 1, 57)
    lines = LOG.export(SIZES, withheld=dict.fromkeys(range(110, 120), "missing"))
    yield Spoiled("newest ten deleted", lines, "event_missing", 1, 110)
    yield Spoiled("two reordered", _swapped(bodies_alone=True), "event_moved", 1, 10, event(20).id)
    yield Spoiled("two reordered, and their leaves", _swapped(), "root_differs", 1, 0)
    lines = LOG.export(SIZES, unsealed=[FORGED])
    yield Spoiled("forged one inserted", lines, "event_outside", 1, None, FORGED.id)
    resigned = SealedLog(REWRITTEN, OTHER_SIGNER).export(SIZES)
    yield Spoiled("rebuilt under another key", resigned, "unknown_key", 3)
    kept = LOG.checkpoint(80)
    yield Spoiled("rebuilt, against what was kept", resigned, "unknown_key", 1, kept=kept)
    stolen = SealedLog(REWRITTEN).export(SIZES)
    yield Spoiled("rebuilt under the stolen key", stolen, "log_rewritten", 1, kept=kept)
    yesterday = SealedLog(events(70)).export([40, 70])
    yield Spoiled("rolled back", yesterday, "log_rolled_back", 1, kept=kept)
    yield from _spoiled_leaves()
    yield from _spoiled_checkpoints()
    yield from _spoiled_frames()


def _spoiled_leaves() -> Iterator[Spoiled]:
    lines = good()
    yield Spoiled("leaf left out", lines[:6] + lines[7:], "leaves_missing", 1, 5)
    lines[6], lines[7] = lines[7], lines[6]
    yield Spoiled("lines swapped", lines, "leaves_missing", 1, 5)
    lines = good()
    twice = [*lines[:7], *lines[6:]]
    yield Spoiled("leaf twice", twice, "event_repeated", 1, 5, event(5).id)
    lines = LOG.export(SIZES, withheld={5: "archived"})
    twice = [*lines[:7], *lines[6:]]
    yield Spoiled("leaf without event twice", twice, "leaves_out_of_order", 1, 5)
    lines = LOG.export(SIZES, withheld={5: "tenant"})
    yield Spoiled("hidden", lines, "event_hidden", 1, 5)
    repeated = [*events(40), event(5, request_id="req_x"), *events(120)[41:]]
    lines = SealedLog(repeated).export(SIZES)
    yield Spoiled("id twice", lines, "event_repeated", 1, 40, event(5).id)
    unsealed = LOG.export(SIZES, unsealed=[event(5, request_id="req_x")])
    yield Spoiled("id twice, once unsealed", unsealed, "event_repeated", 1, None, event(5).id)
    for name, body in (("no JSON", b"{"), ("no event", b"{}"), ("newer", b'{"v":2}')):
        lines = SealedLog([*events(119), body]).export(SIZES)
        yield Spoiled(f"{name} was sealed", lines, "event_unreadable", 3, 119)
    lines = SealedLog([*events(119), b"{\n}"]).export(SIZES)
    yield Spoiled("what fits no line was sealed", lines, "event_missing", 1, 119)
    lines = MIXED.export(SIZES, scope="main")
    lines[0] = edited(lines[0], lambda header: header.update(scope="third"))
    yield Spoiled("another tenant's", lines, "scope_differs", 3, 1, event(1).id)


def _spoiled_checkpoints() -> Iterator[Spoiled]:
    lines = good()
    first, middle, last = (at(size - 1) + 1 for size in SIZES)
    yield Spoiled(
        "last checkpoint left out", lines[:last] + lines[last + 1 :], "not_covered", 3, 80
    )
    between = lines[:middle] + lines[middle + 1 :]
    yield Spoiled("checkpoint between left out", between, "checkpoint_inconsistent", 1)
    none = [line for line in lines if not line.startswith(b'{"type":"checkpoint"')]
    yield Spoiled("no checkpoint", none, "nothing_signed", 3)
    again = [*lines[: middle + 1], lines[first], *lines[middle + 1 :]]
    yield Spoiled("checkpoint shrinks", again, "checkpoint_shrinks", 1)
    early = [lines[0], *lines[1:31], lines[first], *lines[31:first], *lines[first + 1 :]]
    yield Spoiled("checkpoint too early", early, "leaves_missing", 1, 30)
    forked = list(lines)
    fork = SealedLog(REWRITTEN).checkpoint(80)
    forked[middle] = edited(forked[middle], lambda line: line.update(note=fork))
    yield Spoiled("checkpoint of a fork", forked, "root_differs", 1, 40)
    renamed = list(lines)
    renamed[middle] = edited(renamed[middle], lambda line: line.update(note=LOG.checkpoint(79)))
    yield Spoiled("checkpoint of another size", renamed, "checkpoint_inconsistent", 1)
    unproven = list(lines)
    unproven[middle] = edited(unproven[middle], lambda line: line["consistency"].reverse())
    yield Spoiled("proof spoiled", unproven, "checkpoint_inconsistent", 1)
    unsigned = list(lines)
    unsigned[middle] = edited(unsigned[middle], _spoil_signature)
    yield Spoiled("signature spoiled", unsigned, "signature_invalid", 1)
    late = LOG.export([80, 120], first=60)
    kept = LOG.checkpoint(50)
    yield Spoiled("kept one out of reach", late, "kept_unproven", 3, kept=kept)
    late = LOG.export([80, 120], first=60, since=50)
    late[0] = edited(late[0], lambda header: header["since"]["consistency"].reverse())
    yield Spoiled("proof from the kept one spoiled", late, "log_rewritten", 1, kept=kept)
    inside = LOG.export(SIZES, since=50)
    inside[0] = edited(inside[0], lambda header: header["since"]["consistency"].reverse())
    yield Spoiled("header's proof spoiled", inside, "proof_invalid", 1)
    other = SealedLog(events(120), OTHER_SIGNER).checkpoint(80)
    yield Spoiled("kept one of another key", lines, "kept_unsigned", 3, kept=other)


def _spoiled_frames() -> Iterator[Spoiled]:
    lines = good()
    yield Spoiled("end left out", lines[:-1], "cut_off", 3)
    yield Spoiled("cut in a line", [*lines[:50], lines[50][:-40]], "malformed", 3)
    yield Spoiled("more after the end", [*lines, lines[5]], "malformed", 3)
    yield Spoiled("nothing", [], "malformed", 3)
    yield Spoiled("no header", lines[1:], "malformed", 3)
    yield Spoiled("second header", [lines[0], *lines], "malformed", 3)
    yield Spoiled("not a line", [*lines[:9], b"{}\n", *lines[10:]], "malformed", 3)
    end = edited(lines[-1], lambda line: line.update(events=119))
    yield Spoiled("wrong counts", [*lines[:-1], end], "counts_differ", 3)
    key = edited(lines[0], lambda header: header.update(key=OTHER_SIGNER.key.encode()))
    yield Spoiled("header of another key", [key, *lines[1:]], "unknown_key", 3)
    origin = edited(lines[0], lambda header: header.update(origin="vault.example/other"))
    yield Spoiled("header of another log", [origin, *lines[1:]], "other_log", 3)


def _edited_body() -> list[bytes]:
    lines = good()
    line = bundle.decode(lines[at(57)])
    assert isinstance(line, bundle.Event)
    body = canonical_bytes(REWRITTEN[57])
    lines[at(57)] = bundle.encode(msgspec.structs.replace(line, body=body))
    return lines


def _edited_leaf() -> list[bytes]:
    lines = good()
    body = canonical_bytes(REWRITTEN[57])
    lines[at(57)] = bundle.encode(bundle.Event(57, leaf_hash(body), body))
    return lines


def _swapped(*, bodies_alone: bool = False) -> list[bytes]:
    lines = good()
    for leaf, other in ((10, 20), (20, 10)):
        sealed = LOG.hashes[leaf if bodies_alone else other]
        lines[at(leaf)] = bundle.encode(bundle.Event(leaf, sealed, LOG.bodies[other]))
    return lines


def _spoil_signature(line: dict[str, Any]) -> None:
    note = line["note"]
    letter = note[-20]
    line["note"] = note[:-20] + ("A" if letter != "A" else "B") + note[-19:]
