"""Checkpoints: C2SP tlog-checkpoint, read strictly."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.reference_log import KEY, ORIGIN, flips, sign, signed
from vault_service.domain.checkpoints import (
    Checkpoint,
    OriginMismatch,
    open_checkpoint,
    parse_decimal,
)
from vault_service.domain.merkle import EMPTY_ROOT
from vault_service.domain.notes import (
    NoteError,
    NoteMalformed,
    SignatureInvalid,
    UnknownKey,
    VerifierKey,
    sign_line,
)

ROOT = base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
CHECKPOINT = Checkpoint("example.com/behind-the-sofa", 20852163, ROOT)
TEXT = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
B64 = base64.b64encode(ROOT).decode()

origins = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
checkpoints = st.builds(
    Checkpoint, origins, st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32)
)


def test_the_text_is_that_of_the_standards_example() -> None:
    assert CHECKPOINT.text() == TEXT
    assert Checkpoint.parse(TEXT) == CHECKPOINT


def test_a_checkpoint_that_was_given_out_once_is_read_for_ever() -> None:
    note = TEXT + (
        "\n— log.example/vault O2YgwDBFAiEArXvR8cVPKYeukgP+YNKsi1B8C+UviQ8OAjhWW/caglQCIGOsf"
        "ppjdR7m2wFjs5nEy6xj9EWEUPLfM2LxZnHUBZ6I\n"
    )
    assert open_checkpoint(note, KEY) == CHECKPOINT
    assert signed(TEXT) == note  # RFC 6979: the signature is the same each time


@given(checkpoints)
def test_a_checkpoint_comes_back_whole(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(checkpoint.text()) == checkpoint
    assert open_checkpoint(signed(checkpoint.text()), KEY, checkpoint.origin) == checkpoint


def test_the_empty_tree_has_one_root() -> None:
    assert Checkpoint.parse(Checkpoint("x", 0, EMPTY_ROOT).text()).size == 0
    assert hashlib.sha256().digest() == EMPTY_ROOT
    with pytest.raises(NoteMalformed, match="root"):
        Checkpoint("x", 0, ROOT)


@given(checkpoints, st.data())
def test_no_bit_of_any_checkpoint_can_be_changed(
    checkpoint: Checkpoint, data: st.DataObject
) -> None:
    note = bytearray(signed(checkpoint.text()).encode())
    note[data.draw(st.integers(0, len(note) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((NoteError, UnicodeDecodeError)):
        open_checkpoint(note.decode(), KEY)


def test_no_bit_of_a_checkpoint_can_be_changed() -> None:
    for changed in flips(signed(TEXT).encode()):
        with pytest.raises((NoteError, UnicodeDecodeError)):
            open_checkpoint(changed.decode(), KEY)


def test_no_bit_of_the_text_changes_nothing() -> None:
    """Every spelling that is read is another checkpoint: none has two spellings."""
    read = 0
    for changed in flips(TEXT.encode()):
        try:
            checkpoint = Checkpoint.parse(changed.decode())
        except (NoteMalformed, UnicodeDecodeError):
            continue
        assert checkpoint != CHECKPOINT
        assert checkpoint.text() == changed.decode()
        read += 1
    assert read > 100


def test_another_logs_checkpoint_is_refused() -> None:
    note = signed(TEXT)
    with pytest.raises(OriginMismatch):
        open_checkpoint(note, KEY, ORIGIN)
    assert open_checkpoint(note, KEY, CHECKPOINT.origin) == CHECKPOINT


def test_the_key_is_the_one_that_was_pinned() -> None:
    from_another = Checkpoint(ORIGIN, 1, ROOT).text()
    renamed = VerifierKey("renamed.example", KEY.public_key_der)
    with pytest.raises(UnknownKey):
        open_checkpoint(signed(from_another), renamed)
    forged = from_another + "\n" + sign_line(KEY.name, KEY.key_id, sign("something else\n"))
    with pytest.raises(SignatureInvalid):
        open_checkpoint(forged, KEY)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n\n",
        TEXT[:-1],
        TEXT + "\n",
        TEXT + "extension\n",
        "\n" + TEXT,
        f"x\n5\n{B64}",
        f"\n5\n{B64}\n",
        f"x\n\n{B64}\n",
        "x\n5\n\n",
        f"x\n05\n{B64}\n",
        f"x\n+5\n{B64}\n",
        f"x\n-5\n{B64}\n",
        f"x\n 5\n{B64}\n",
        f"x\n5 \n{B64}\n",
        f"x\n5_0\n{B64}\n",
        f"x\n٥\n{B64}\n",
        f"x\n0x5\n{B64}\n",
        f"x\n{2**63}\n{B64}\n",
        f"x\n{10**30}\n{B64}\n",
        f"x\n0\n{B64}\n",
        f"x\n5\n{B64[:-1]}\n",
        f"x\n5\n{B64[:-2]}J=\n",
        f"x\n5\n {B64}\n",
        f"x\n5\n{B64[:40]}\n",
        f"x\n5\n{base64.b64encode(ROOT + b'x').decode()}\n",
        f"x\r\n5\r\n{B64}\r\n",
        f"x\x00\n5\n{B64}\n",
    ],
)
def test_what_is_no_checkpoint_is_refused_even_signed(text: str) -> None:
    with pytest.raises(NoteMalformed):
        Checkpoint.parse(text)
    with pytest.raises(NoteMalformed):
        open_checkpoint(signed(text), KEY)


@pytest.mark.parametrize("size", [-1, 2**63])
def test_what_no_log_can_have_is_not_written(size: int) -> None:
    with pytest.raises(NoteMalformed, match="size"):
        Checkpoint(ORIGIN, size, ROOT)
    with pytest.raises(NoteMalformed, match="root"):
        Checkpoint(ORIGIN, 5, ROOT[:31])
    for origin in ("", "a\nb", "a\x1fb", "\ud800"):
        with pytest.raises(NoteMalformed, match="origin"):
            Checkpoint(origin, 5, ROOT)


@given(st.integers(0, 2**63 - 1))
def test_numbers_have_one_spelling(number: int) -> None:
    assert parse_decimal(str(number)) == number
    for other in (f"0{number}", f"+{number}", f"-{number}", f"{number} ", f"{number}\n"):
        with pytest.raises(NoteMalformed):
            parse_decimal(other)
