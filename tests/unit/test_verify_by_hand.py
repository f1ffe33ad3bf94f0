"""The script of docs/verify-by-hand.md: run as printed there, it agrees with the verifier."""

import random
import re
from pathlib import Path
from typing import Final

import pytest

from tests.bundles import KEY, SealedLog, event, events, verified
from tests.by_hand import run_script, save_script
from tests.soak import times
from tests.spoiled_bundles import LOG, MIXED, SIZES, Spoiled, good, spoiled

SMALL: Final = SealedLog(events(7))


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_script(tmp_path_factory.mktemp("by_hand"))


def by_hand(script: Path, lines: list[bytes], kept: str | None = None) -> int:
    """The script's exit code."""
    path = script.with_name("bundle.ndjson")
    path.write_bytes(b"".join(lines))
    kept_path = None
    if kept is not None:
        kept_path = script.with_name("kept")
        kept_path.write_text(kept)
    return run_script(script, path, KEY.encode(), kept_path)


def test_it_is_short_and_stands_on_little(script: Path) -> None:
    text = script.read_text()
    assert len(text.splitlines()) < 150
    imported = set(re.findall(r"^(?:from|import) (\w+)", text, re.MULTILINE))
    assert imported == {"base64", "cryptography", "datetime"}
    assert re.findall(r"^import (.*)$", text, re.MULTILINE) == [
        "base64, functools, hashlib, json, re, sys"
    ]


@pytest.mark.parametrize(
    ("lines", "kept"),
    [
        (good(), None),
        (good(), LOG.checkpoint(57)),
        (SMALL.export([7]), SMALL.checkpoint(7)),
        (LOG.export([80, 120], first=60, since=50), LOG.checkpoint(50)),
        (LOG.export([80, 120], first=64), LOG.checkpoint(64)),
        (MIXED.export(SIZES, scope="main"), MIXED.checkpoint(3)),
        (LOG.export(SIZES, withheld={3: "archived"}, unsealed=[event(121), event(122)]), None),
    ],
)
def test_it_verifies_what_is_whole(script: Path, lines: list[bytes], kept: str | None) -> None:
    assert verified(lines, kept).verdict.value == 0
    assert by_hand(script, lines, kept) == 0


@pytest.mark.parametrize("case", list(spoiled()), ids=lambda case: case.name)
def test_it_agrees_on_what_is_spoiled(script: Path, case: Spoiled) -> None:
    assert by_hand(script, case.lines, case.kept) == case.exit_code


def test_it_refuses_changed_bytes(script: Path) -> None:
    """At places that a seed chose, as the verifier does at all of them."""
    whole = b"".join(SMALL.export([3, 7]))
    chosen = random.Random(7)
    for at in chosen.sample(range(len(whole)), times(40, len(whole))):
        changed = whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :]
        assert by_hand(script, [changed]) in (1, 3), at


def test_it_refuses_what_it_cannot_read(script: Path) -> None:
    for junk in (b"", b"\xff\xfe", b"[" * 100_000, b"null\n", b'{"type":"header"}\n'):
        assert by_hand(script, [junk]) == 3
    assert by_hand(script, good(), "no checkpoint") == 3
