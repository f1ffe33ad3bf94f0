"""Signed notes: a text with signature lines below it (C2SP signed-note).

One signature type is made and verified: 0x02, ECDSA on P-256 over the SHA-256 of the
text, in ASN.1 DER. Signature lines of other keys are left alone. What is read is read
strictly, so that one note has one spelling: no changed bit of it goes unseen.

ECDSA signatures are not unique: whoever has the valid (r, s) can write (r, n-s), which is
valid too, for the same text. KMS makes either, so that both are taken. Nothing may
therefore be keyed on, or compared by, the bytes of a signature or of a whole note: what
is signed is the text.
"""

import base64
import hashlib
import re
from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

MAX_NOTE_BYTES: Final = 1 << 20
MAX_SIGNATURES: Final = 16  # what C2SP signed-note demands at least
_ECDSA: Final = b"\x02"
_DASH: Final = "— "
_FORBIDDEN: Final = re.compile("[\x00-\x09\x0b-\x1f\ud800-\udfff]")
_KEY_NAME: Final = re.compile(r"[^\s+\x00-\x1f\ud800-\udfff]+")


class NoteError(ValueError):
    """A note that is not accepted."""


class NoteMalformed(NoteError):
    """It is not spelled as the standard says."""


class UnknownKey(NoteError):
    """No signature line is of the key in question."""


class SignatureInvalid(NoteError):
    """A signature line of the key in question does not verify."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A P-256 public key (DER SubjectPublicKeyInfo, the point uncompressed) and its name.
    Raises :class:`NoteMalformed` where either is not one."""

    name: str
    public_key_der: bytes
    _public_key: ec.EllipticCurvePublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not is_key_name(self.name):
            raise NoteMalformed("not a key name")
        object.__setattr__(self, "_public_key", _p256_key(self.public_key_der))

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """Read ``name+hhhhhhhh+base64``: the key id in hex, then 0x02 and the public key.
        :class:`NoteMalformed` where it is anything else."""
        parts = text.split("+", 2)
        if len(parts) != 3:
            raise NoteMalformed("not a verifier key")
        name, key_id, encoded = parts
        data = decode_base64(encoded)
        if data[:1] != _ECDSA:
            raise NoteMalformed("not an ECDSA verifier key")
        key = cls(name, data[1:])
        if key_id != key.key_id.hex():
            raise NoteMalformed("the key id is not that of the key")
        return key

    def encode(self) -> str:
        """What :meth:`parse` reads."""
        encoded = base64.b64encode(_ECDSA + self.public_key_der).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def key_id(self) -> bytes:
        """The first 4 bytes of SHA-256 over the public key (C2SP signed-note, type 0x02)."""
        return hashlib.sha256(self.public_key_der).digest()[:4]

    def check(self, text: bytes, signature: bytes) -> None:
        """Raise :class:`SignatureInvalid` unless this key signed ``text``."""
        try:
            self._public_key.verify(signature, text, ec.ECDSA(SHA256()))
        except InvalidSignature:
            raise SignatureInvalid("the signature does not verify") from None


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature line: the key's name and id (4 bytes), and what it made of the text."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A note's text, which ends in a newline, and its signature lines. Nothing is verified."""

    text: str
    signatures: tuple[NoteSignature, ...]


def is_key_name(name: str) -> bool:
    """Whether ``name`` can stand in a signature line and a verifier key: not empty, and
    without white space, ``+`` and control characters."""
    return _KEY_NAME.fullmatch(name) is not None


def sign_line(name: str, key_id: bytes, signature: bytes) -> str:
    """The signature line, with its newline; a note is its text, a newline and such lines.
    :class:`NoteMalformed` where the name or the id cannot stand in one."""
    if not is_key_name(name) or len(key_id) != 4 or not signature:
        raise NoteMalformed("not a signature")
    return f"{_DASH}{name} {base64.b64encode(key_id + signature).decode()}\n"


def parse_note(text: str) -> Note:
    """Take a note apart; :class:`NoteMalformed` where it is none, is over 1 MiB or has
    more than 16 signatures."""
    # A character is a byte at least, so that the encoding below is bounded.
    if len(text) > MAX_NOTE_BYTES or _FORBIDDEN.search(text) is not None:
        raise NoteMalformed("not a note: too long, or with control characters")
    if len(text.encode()) > MAX_NOTE_BYTES:
        raise NoteMalformed("not a note: too long")
    body, blank, lines = text.rpartition("\n\n")
    if not blank or not lines.endswith("\n"):
        raise NoteMalformed("not a note: no signature lines")
    signatures = lines[:-1].split("\n")
    if len(signatures) > MAX_SIGNATURES:
        raise NoteMalformed("not a note: too many signatures")
    return Note(body + "\n", tuple(_parse_signature(line) for line in signatures))


def open_note(text: str, key: VerifierKey) -> str:
    """The note's text, signed by ``key``. Raises :class:`NoteMalformed`,
    :class:`UnknownKey` where no signature line is of that name and id, and
    :class:`SignatureInvalid` where one is and does not verify."""
    note = parse_note(text)
    wanted = (key.name, key.key_id)
    ours = [line for line in note.signatures if (line.name, line.key_id) == wanted]
    if not ours:
        raise UnknownKey("the note is not signed by this key")
    signed = note.text.encode()
    for line in ours:
        key.check(signed, line.signature)
    return note.text


def decode_base64(text: str) -> bytes:
    """RFC 4648 4, in the one canonical spelling: padded, unused bits zero, nothing else
    (RFC 4648 3.5). :class:`NoteMalformed` otherwise."""
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        raise NoteMalformed("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise NoteMalformed("not canonical base64")
    return data


def _parse_signature(line: str) -> NoteSignature:
    name, space, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not space or not is_key_name(name):
        raise NoteMalformed("not a signature line")
    data = decode_base64(encoded)
    if len(data) <= 4:
        raise NoteMalformed("a signature line without a signature")
    return NoteSignature(name, data[:4], data[4:])


def _p256_key(der: bytes) -> ec.EllipticCurvePublicKey:
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        raise NoteMalformed("not a public key") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NoteMalformed("not a P-256 key")
    # The key id is a hash of these bytes, so one key must have one encoding.
    if key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) != der:
        raise NoteMalformed("not the canonical encoding of a public key")
    return key
