"""The search that other tests rely on finds what it is meant to find."""

import base64
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.attacks.needles import Sweep, leaves, writings

TEXT = "4929813607"


@pytest.mark.parametrize(
    "written",
    [
        b"4929813607000017",
        b"x 4929 8136 0700 0017",
        b"4929-8136-0700-0017",
        b"4 9 2 9 8 1 3 6 0 7 0 0 0 0 1 7",
        b"4929813607000017".hex().encode(),
        b"pan=4929813607000017;".hex().upper().encode(),
        *(base64.b64encode(b"x" * before + b"4929813607000017") for before in range(7)),
        *(base64.urlsafe_b64encode(b"\xff\xfe" * 2 + b"x" * n + b"4929813607") for n in range(4)),
        "4929813607000017".encode("utf-16"),
        base64.b64encode(b"4929813607000017 and more"),
        b"4929813607000017.0",
        "４９２９８１３６０７０".encode(),
    ],
)
def test_digits_are_found_however_written(written: bytes) -> None:
    assert Sweep(TEXT).of(b"before " + written + b" after")


@pytest.mark.parametrize("text", ["qzkolibri", "a b/c+d?"])
@pytest.mark.parametrize("before", range(5))
def test_words_are_found_however_written(text: str, before: int) -> None:
    raw = b"-" * before + text.encode() + b"tail"
    for written in (raw, raw.hex().encode(), base64.b64encode(raw), base64.urlsafe_b64encode(raw)):
        assert Sweep(text).of(written)
    assert Sweep(text).of("".join(f"%{byte:02X}" for byte in raw).encode())


def test_ordinary_quoting_leaves_words_raw() -> None:
    assert Sweep("qzkolibri").of(quote("qzkolibri@x").encode())
    assert Sweep("qzkolibri").of(quote_plus("a qzkolibri").encode())


def test_nothing_is_found_in_something_else(tmp_path: Path) -> None:
    sweep = Sweep(TEXT, "qzkolibri")
    assert sweep.of(bytes(range(256)) * 100 + b"4929813608 qzkolibra") == []
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "file").write_bytes(b"\0" * 5000 + b"4929813607")
    (tmp_path / "empty").write_bytes(b"")
    count, found = sweep.of_folder(tmp_path)
    assert count == 2
    assert len(found) == 1
    (tmp_path / "qzkolibri").write_bytes(b"")
    assert len(sweep.of_folder(tmp_path)[1]) == 2, "names of files count as well"


def test_writings_are_long_enough_to_mean_something() -> None:
    assert min(map(len, writings(TEXT).values())) >= 10


def test_leaves_are_the_parts_of_every_value() -> None:
    rows = [("a", 1, None, b"\x01", ["b", ["c"]], {"d": {"e": "f"}})]
    assert list(leaves(rows)) == [b"a", b"1", b"\x01", b"b", b"c", b"d", b"e", b"f"]
