"""Signed notes: the format of C2SP signed-note, in one spelling, signed by one known key."""

import base64
import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from tests.reference_log import KEY, flips, key_of, sign, signed
from vault_service.domain.notes import (
    MAX_NOTE_BYTES,
    NoteError,
    NoteMalformed,
    NoteSignature,
    SignatureInvalid,
    UnknownKey,
    VerifierKey,
    decode_base64,
    open_note,
    parse_note,
    sign_line,
)

TEXT = "log.example/vault\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
OTHER = key_of(ec.derive_private_key(7, ec.SECP256R1()), "witness.example")
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

PUBLISHED = [
    (
        "rekor.sigstore.dev+c0d23d6a+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABNhtmPtrWm3U1eQXBog"
        "SMdGvXwBcK5AW5i0hrZLOC96l+smGNM7nwZ4QvFK/4sueRoVj//QP22Ni4Qt9DPfkWLc=",
        "Rekor\n798034\nf+7CoKgXKE/tNys9TTXcr/ad6U/K3xvznmzew9y6SP0=\n\n"
        "— rekor.sigstore.dev wNI9ajBEAiARInWIWyCdyG27CO6LPnPekyw20qO0YJfoaPaowGp/XgIgc+qEHS3"
        "+GKVClgqq20uDLet7MCoTURUCRdxwWBHHufk=\n",
    ),
    (
        "pixel6_transparency_log+91c16e30+AjBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABN+4x0Jk1yTwvLF"
        "I9A4NDdGZcX0aiWVdWM5XJVy0M4VWD3AvyW5Q6Hs9A0mcDkpUoYgn+KKPNzFC0H3nN3q6JQ8=",
        "DEFAULT\n10\nbsWRucJU5xJPHb5eBdOm6+DM+VelCZBuvtI3sHERJ9Y=\n\n"
        "— pixel6_transparency_log kcFuMDBFAiEAhqMAP8P6qf6QxtUJhzMhbN+MbZ9dwfUHzGQJmffJHtoCIG"
        "D0cNe47dHWBoPwYdgBCepB06/+g5O1FmYjXl06owL4\n",
    ),
]
"""Keys and checkpoints that two public logs published, as transparency-dev/formats tests them."""


def _note(*lines: str) -> str:
    return TEXT + "\n" + "".join(lines)


def _ours(text: str = TEXT) -> str:
    return sign_line(KEY.name, KEY.key_id, sign(text))


@pytest.mark.parametrize(("vkey", "note"), PUBLISHED)
def test_checkpoints_of_public_logs_verify(vkey: str, note: str) -> None:
    key = VerifierKey.parse(vkey)
    assert key.encode() == vkey
    assert note.startswith(open_note(note, key) + "\n")
    with pytest.raises(SignatureInvalid):
        open_note("x" + note, key)


def test_the_key_id_is_of_the_public_key_alone() -> None:
    assert KEY.key_id == hashlib.sha256(KEY.public_key_der).digest()[:4]
    assert VerifierKey("another.example", KEY.public_key_der).key_id == KEY.key_id


@pytest.mark.parametrize("text", [TEXT, "\n", "a\n\nb\n", "è subito sera — \u2028 \x7f\n"])
def test_a_signed_note_opens(text: str) -> None:
    assert open_note(signed(text), KEY) == text


def test_a_note_is_taken_apart() -> None:
    signature = sign(TEXT)
    note = parse_note(_note(sign_line("a.example", b"\x00\x01\x02\x03", b"x"), _ours()))
    assert note.text == TEXT
    assert note.signatures[0] == NoteSignature("a.example", b"\x00\x01\x02\x03", b"x")
    assert (note.signatures[1].name, note.signatures[1].key_id) == (KEY.name, KEY.key_id)
    encoded = base64.b64encode(KEY.key_id + signature).decode()
    assert sign_line(KEY.name, KEY.key_id, signature) == f"— {KEY.name} {encoded}\n"


def test_no_bit_of_a_signed_note_can_be_changed() -> None:
    note = signed(TEXT).encode()
    for changed in flips(note):
        with pytest.raises((NoteError, UnicodeDecodeError)):
            open_note(changed.decode(), KEY)


def test_no_bit_of_a_signature_can_be_changed() -> None:
    signature = sign(TEXT)
    for changed in flips(signature):
        with pytest.raises(SignatureInvalid):
            KEY.check(TEXT.encode(), changed)
    for changed in (b"", signature[:-1], signature + b"\x00", bytes(64)):
        with pytest.raises(SignatureInvalid):
            KEY.check(TEXT.encode(), changed)


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40), st.data())
def test_no_bit_of_any_text_can_be_changed(body: str, data: st.DataObject) -> None:
    note = signed(body + "\n").encode()
    assert open_note(note.decode(), KEY) == body + "\n"
    changed = bytearray(note)
    changed[data.draw(st.integers(0, len(note) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises((NoteError, UnicodeDecodeError)):
        open_note(changed.decode(), KEY)


def test_a_signature_is_not_unique() -> None:
    """(r, n-s) verifies as well: nothing may be keyed on a signature's bytes."""
    signature = sign(TEXT)
    r, s = decode_dss_signature(signature)
    other = encode_dss_signature(r, ORDER - s)
    assert other != signature
    KEY.check(TEXT.encode(), other)


def test_signatures_of_unknown_keys_are_left_alone() -> None:
    namesake = sign_line(KEY.name, OTHER.key_id, sign(TEXT))
    stranger = sign_line("another.example", KEY.key_id, sign(TEXT))
    garbage = sign_line("x.example", b"abcd", b"?")
    with pytest.raises(UnknownKey):
        open_note(_note(namesake, stranger, garbage), KEY)
    assert open_note(_note(namesake, stranger, _ours(), garbage), KEY) == TEXT


def test_a_known_key_must_verify_wherever_it_stands() -> None:
    wrong = _ours("another text\n")
    for note in (_note(wrong), _note(_ours(), wrong), _note(wrong, _ours())):
        with pytest.raises(SignatureInvalid):
            open_note(note, KEY)


def test_sixteen_signatures_are_read_and_no_more() -> None:
    other = sign_line(OTHER.name, OTHER.key_id, b"x")
    assert open_note(_note(*[other] * 15, _ours()), KEY) == TEXT
    with pytest.raises(NoteMalformed, match="many"):
        open_note(_note(*[other] * 16, _ours()), KEY)


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_note_of_one_mebibyte_is_read_and_no_larger(letter: str) -> None:
    ending = "\n\n" + sign_line("a", b"abcd", b"x")
    room = MAX_NOTE_BYTES - len(ending.encode())
    body = letter * (room // len(letter.encode()))
    body += "x" * (room - len(body.encode()))
    assert parse_note(body + ending).text == body + "\n"
    with pytest.raises(NoteMalformed, match="long"):
        parse_note("x" + body + ending)


LINE = _ours().rstrip("\n")


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n",
        TEXT,
        TEXT + "\n",
        _note(LINE),
        _note(LINE, "\n\n"),
        TEXT + LINE + "\n",
        "\n" + LINE + "\n",
        _note("x\n", LINE, "\n"),
        _note(" ", LINE, "\n"),
        _note(LINE, " \n"),
        _note(LINE.replace("—", "-"), "\n"),
        _note(LINE.replace("— ", "—"), "\n"),
        _note(LINE.replace("— ", "—  "), "\n"),
        _note(LINE.replace(KEY.name, ""), "\n"),
        _note(LINE.replace(KEY.name, "a+b"), "\n"),
        _note(LINE.replace(KEY.name, "a\u00a0b"), "\n"),
        _note(LINE.replace(KEY.name + " ", KEY.name), "\n"),
        _note("— name \n"),
        _note("— name ", base64.b64encode(b"abcd").decode(), "\n"),
        _note(LINE, "=\n"),
        signed(TEXT).replace("\n", "\r\n"),
        signed("a\tb\n"),
        signed("a\x00b\n"),
        signed(TEXT).replace(TEXT, "\ud800\n"),
    ],
)
def test_what_is_no_note_is_refused(note: str) -> None:
    with pytest.raises(NoteMalformed):
        open_note(note, KEY)
    with pytest.raises(NoteMalformed):
        parse_note(note)


@pytest.mark.parametrize(
    ("name", "key_id", "signature"),
    [("", b"abcd", b"x"), ("a b", b"abcd", b"x"), ("a", b"abc", b"x"), ("a", b"abcd", b"")],
)
def test_what_is_no_signature_is_not_written(name: str, key_id: bytes, signature: bytes) -> None:
    with pytest.raises(NoteMalformed):
        sign_line(name, key_id, signature)


def _vkey(name: str, key_id: str, data: bytes) -> str:
    return f"{name}+{key_id}+{base64.b64encode(data).decode()}"


DER = KEY.public_key_der
ID = KEY.key_id.hex()
P384 = ec.derive_private_key(7, ec.SECP384R1()).public_key()
ED25519 = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()
COMPRESSED = DER[:1] + b"\x39" + DER[2:24] + b"\x22\x00" + bytes([2 + DER[-1] % 2]) + DER[27:59]


def _others(public_key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    "text",
    [
        "",
        KEY.name,
        KEY.encode() + "\n",
        KEY.encode().replace("+", " "),
        _vkey("", ID, b"\x02" + DER),
        _vkey("a b", ID, b"\x02" + DER),
        _vkey("a", ID.upper(), b"\x02" + DER),
        _vkey("a", OTHER.key_id.hex(), b"\x02" + DER),
        _vkey("a", ID, b"\x01" + DER),
        _vkey("a", ID, DER),
        _vkey("a", ID, b"\x02"),
        _vkey("a", ID, b""),
        _vkey("a", ID, b"\x02" + DER + b"\x00"),
        _vkey("a", hashlib.sha256(COMPRESSED).hexdigest()[:8], b"\x02" + COMPRESSED),
        *[
            _vkey("a", hashlib.sha256(_others(key)).hexdigest()[:8], b"\x02" + _others(key))
            for key in (P384, ED25519)
        ],
    ],
)
def test_what_is_no_verifier_key_is_refused(text: str) -> None:
    with pytest.raises(NoteMalformed):
        VerifierKey.parse(text)


def test_no_bit_of_a_verifier_key_can_be_changed_unseen() -> None:
    """But for the name, which the key id does not cover, it is another key or none."""
    text = KEY.encode()
    for changed in flips(text.removeprefix(KEY.name).encode()):
        with pytest.raises((NoteError, UnicodeDecodeError)):
            VerifierKey.parse(KEY.name + changed.decode())


@given(st.binary(max_size=40))
def test_base64_comes_back_whole(data: bytes) -> None:
    assert decode_base64(base64.b64encode(data).decode()) == data


@pytest.mark.parametrize(
    "text",
    ["QQ", "QQ=", "QR==", "QUJ=", "Q Q=", "QQ==\n", "QQ==QQ==", "QQ===", "=", "_-8=", "é==="],
)
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(NoteMalformed):
        decode_base64(text)
