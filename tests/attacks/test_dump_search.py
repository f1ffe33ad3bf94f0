"""A dump of the database is no help in finding card numbers (PCI-DSS 3.5.1.1).

A thief who knows the first six and last four digits of a card, which receipts show, has
a million middles to try. Whatever is stored about the card must not tell which is right:
no plain hash, no checksum, no digest of a request, in any common way of making one.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

import httpx2
import pytest

from tests.attacks.dumps import dump, tables
from tests.attacks.needles import leaves
from tests.serving import Serve, Server
from tests.soak import LONG
from tests.synthetic import cards
from vault_service.adapters.postgres.audit import subject_term, token_term

Hash = Callable[[bytes], bytes]

CARD: Final = cards(1, seed=606)[0]
BIN: Final = CARD[:6]
LAST: Final = CARD[-4:]
SUBJECT: Final = "cus_606"
_KEY: Final = "dump-key"


def _double_sha256(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


_HASHES: Final[dict[str, Hash]] = {
    "md5": lambda data: hashlib.md5(data, usedforsecurity=False).digest(),
    "sha1": lambda data: hashlib.sha1(data, usedforsecurity=False).digest(),
    "sha256": lambda data: hashlib.sha256(data).digest(),
    "sha224": lambda data: hashlib.sha224(data).digest(),
    "sha384": lambda data: hashlib.sha384(data).digest(),
    "sha512": lambda data: hashlib.sha512(data).digest(),
    "sha3_256": lambda data: hashlib.sha3_256(data).digest(),
    "sha3_512": lambda data: hashlib.sha3_512(data).digest(),
    "blake2b": lambda data: hashlib.blake2b(data).digest(),
    "blake2b of 32": lambda data: hashlib.blake2b(data, digest_size=32).digest(),
    "blake2s": lambda data: hashlib.blake2s(data).digest(),
    "double sha256": _double_sha256,
}
_QUICK: Final = ("md5", "sha1", "sha256")

# What a careless design hashes: the number alone, or with what stands beside it.
_DECORATIONS: Final[dict[str, tuple[bytes, bytes]]] = {
    "alone": (b"", b""),
    "class:": (b"pan:", b""),
    "class": (b"pan", b""),
    "tenant:": (b"main:", b""),
    "tenant and class": (b"main:pan:", b""),
    "tenant, class, bars": (b"main|pan|", b""),
    "tenant, class, zeros": (b"main\0pan\0", b""),
    "with its length": (b"\0\0\0\x10", b""),
    "index label": (
        b"\0\0\0\x13strongroom-index-v1\0\0\0\x03pan\0\0\0\x10",
        b"",
    ),
    "quoted": (b'"', b'"'),
    "line": (b"", b"\n"),
    "subject:": (SUBJECT.encode() + b":", b""),
    "kept request": (b'{"items": [{"data_class": "pan", "value": "', b'"}]}'),
    "one item": (b'{"data_class": "pan", "value": "', b'"}'),
}


@dataclass
class Stored:
    """Everything in the database: ``strings`` are the values of all rows, ``heads`` their
    first eight bytes, ``texts`` the dump."""

    strings: set[bytes]
    heads: set[bytes]
    numbers: set[int]
    text: bytes

    @classmethod
    def of(cls, values: Iterator[bytes], numbers: set[int], text: bytes) -> "Stored":
        """With encoded strings also decoded, and parts of long ones at each offset."""
        strings: set[bytes] = set()
        for value in values:
            strings.update(_readings(value))
        return cls(strings, {s[at : at + 8] for s in strings for at in _offsets(s)}, numbers, text)

    def holds(self, digest: bytes) -> bool:
        """Whether a digest, or the first eight bytes of one, stands anywhere."""
        return digest[:8] in self.heads


def _readings(value: bytes) -> Iterator[bytes]:
    """A stored value, and what it says if it is hexadecimal or base64."""
    yield value
    for decode in (bytes.fromhex, base64.b64decode, base64.urlsafe_b64decode):
        try:
            text = value.decode("ascii")
            yield decode(text + "=" * (-len(text) % 4) if decode is not bytes.fromhex else text)
        except ValueError:
            continue


def _offsets(value: bytes) -> range:
    """Where a digest may begin: anywhere in what is short, records of keys included."""
    return range(max(1, min(len(value), 4096) - 7))


@pytest.fixture(scope="module")
def vault(serve_module: Serve) -> Server:
    """A service in which the card went every way a card can go."""
    server = serve_module()
    tester, merchant = server.caller("load-tester"), server.caller("other-merchant")
    body = b'{"items": [{"data_class": "pan", "value": "' + CARD.encode() + b'"}]}'
    for caller in (tester, merchant):
        for _ in range(2):
            kept = caller.post("/v1/tokenize", body, headers={"Idempotency-Key": _KEY})
            assert kept.status_code == 200
    [token] = tester.tokenize("pan", [CARD], subject=SUBJECT, tags={"region": "eu"})
    tester.tokenize("pan_unverified", [CARD], subject=SUBJECT)
    tester.tokenize("free_text", [CARD, f"card {CARD}"])
    tester.tokenize("pan", cards(50, seed=607))
    for form in ("masked", "plain", "bin", "last4"):
        assert tester.detokenize([token], "data_quality", form, case="CB-1").status_code == 200
    for value in (CARD, cards(1, seed=608)[0]):
        found = tester.post("/v1/lookup", {"data_class": "pan", "value": value})
        assert found.status_code == 200
    refused: list[httpx2.Response] = [
        tester.detokenize([CARD], "data_quality"),
        tester.post("/v1/tokenize", {"items": [{"data_class": "pan", "value": CARD + "1"}]}),
        tester.post(
            "/v1/tokenize", {"items": [{"data_class": "pan", "value": CARD, "subject": CARD}]}
        ),
    ]
    assert {answer.status_code // 100 for answer in refused} == {4}
    return server


def _stored(vault: Server) -> Stored:
    rows = [row for _, found in tables(vault) for row in found]
    numbers = {
        number & 0xFFFFFFFF
        for row in rows
        for value in row
        for number in (value if isinstance(value, list) else [value])
        if isinstance(number, int)
    }
    bodies = [json.loads(row[0]) for row in vault.query("SELECT body FROM strongroom.audit_events")]
    values = chain(leaves(rows), leaves([[body] for body in bodies]))
    return Stored.of(values, numbers, dump(vault.superuser_url))


def _middles(step: int = 1) -> Iterator[bytes]:
    """All numbers that the known digits leave, or every so many and the right one."""
    for middle in range(0, 1_000_000, step):
        yield f"{BIN}{middle:06d}{LAST}".encode()
    yield CARD.encode()


def _found(stored: Stored, hashes: tuple[str, ...], step: int) -> list[tuple[str, str]]:
    """Which hashes under which decorations gave something that is stored."""
    numbers = list(_middles(step))
    heads = stored.heads
    found = []
    for name in hashes:
        digest = _HASHES[name]
        for decoration, (before, after) in _DECORATIONS.items():
            few = numbers if decoration == "alone" or LONG else [*numbers[::200], CARD.encode()]
            if any(digest(before + number + after)[:8] in heads for number in few):
                found.append((name, decoration))
    return found


def test_the_number_itself_is_not_there(vault: Server) -> None:
    stored = _stored(vault)
    middle = CARD[6:12].encode()
    assert CARD.encode() not in stored.text
    assert not any(CARD.encode() in value for value in stored.strings)
    assert middle not in {value for value in stored.strings if len(value) < 20}
    assert len(stored.strings) > 300


def test_no_middle_is_found_by_a_common_hash(vault: Server) -> None:
    """All million middles, with the hashes that are commonest."""
    assert _found(_stored(vault), _QUICK, step=1) == []


def test_no_middle_is_found_by_another_hash(vault: Server) -> None:
    """Where a design hashes at all, the right middle shows like any other; so here a
    sample stands for all of them, but in a soak."""
    others = tuple(name for name in _HASHES if name not in _QUICK)
    assert _found(_stored(vault), others, step=1 if LONG else 100) == []


def test_no_middle_is_found_by_a_checksum(vault: Server) -> None:
    """The only checksums are those that find events by token and subject, and all of
    them are explained."""
    rows = vault.query("SELECT terms, body FROM strongroom.audit_events")
    explained = 0
    for terms, body in rows:
        groups = json.loads(body).get("groups", [])
        expected = [token_term(token) for group in groups for token in group.get("tokens", ())]
        expected += [subject_term(s) for group in groups for s in group.get("subjects", ())]
        assert sorted(terms) == sorted(expected)
        explained += len(terms)
    assert explained > 60
    stored = _stored(vault)
    terms_of = {term & 0xFFFFFFFF for terms, _ in rows for term in terms}
    others = stored.numbers - terms_of
    for number in (CARD.encode(), *_middles(10_000)):
        for before, after in _DECORATIONS.values():
            data = before + number + after
            for checksum in (zlib.crc32, zlib.adler32):
                assert checksum(data) not in others
    for before, after in _DECORATIONS.values():
        data = before + CARD.encode() + after
        assert zlib.crc32(data) not in terms_of
        assert zlib.crc32(data, 1) not in terms_of


@pytest.mark.parametrize("name", list(_HASHES))
@pytest.mark.parametrize(
    "written",
    [
        bytes,
        lambda digest: digest.hex().encode(),
        lambda digest: digest.hex().upper().encode(),
        base64.b64encode,
        lambda digest: digest[:8],
        lambda digest: digest[:16],
        lambda digest: b"\x01" + digest,
        lambda digest: b"v1:" + digest + b":end",
    ],
    ids=["raw", "hex", "HEX", "base64", "8 bytes", "16 bytes", "versioned", "in the middle"],
)
def test_a_planted_hash_would_be_found(name: str, written: Callable[[bytes], bytes]) -> None:
    digest = _HASHES[name](b"main:pan:" + CARD.encode())
    stored = Stored.of(iter([b"other", written(digest)]), set(), b"")
    assert stored.holds(digest)
    assert _found(stored, (name,), step=100_000) == [(name, "tenant and class")]


def test_a_hash_planted_in_the_database_is_found(vault: Server) -> None:
    digest = hashlib.sha256(CARD.encode()).digest()
    vault.query("CREATE TABLE public.planted AS SELECT %s::bytea AS digest", digest)
    try:
        stored = _stored(vault)
        assert stored.holds(digest)
        assert ("sha256", "alone") in _found(stored, ("sha256",), step=1000)
        assert digest.hex().encode() in stored.text
    finally:
        vault.query("DROP TABLE public.planted")
