"""The lines of an export bundle: one spelling each, read strictly."""

import base64
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vault_service.domain import bundle
from vault_service.domain.bundle import BundleMalformed, decode, encode, leaf_line
from vault_service.domain.merkle import MAX_SIZE

H = bytes(range(32))
H64 = base64.b64encode(H).decode()
BODY = '{"id":"evt_1","principal":"“ü”"}'.encode()

texts = st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=20)
hashes = st.binary(min_size=32, max_size=32)
proofs = st.lists(hashes, max_size=5).map(tuple)
leaves = st.integers(0, MAX_SIZE - 1)
sizes = st.integers(0, MAX_SIZE)
bodies = st.binary(max_size=60).filter(lambda body: b"\n" not in body)
headers = st.builds(
    bundle.Header,
    v=st.just(1),
    origin=texts,
    scope=texts,
    first=sizes,
    left=proofs,
    key=texts,
)
lines = st.one_of(
    headers,
    st.builds(bundle.Event, leaf=leaves, hash=hashes, body=bodies),
    st.builds(
        bundle.Withheld,
        leaf=leaves,
        hash=hashes,
        why=st.sampled_from(["tenant", "archived", "missing"]),
    ),
    st.builds(bundle.Checkpoint, size=sizes, consistency=proofs, note=texts),
    st.builds(bundle.Unsealed, body=bodies),
    st.builds(bundle.End, leaves=sizes, events=sizes, unsealed=sizes),
)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (
            bundle.Header(1, "log", "all", 3, (H, H), "k"),
            f'{{"type":"header","v":1,"origin":"log","scope":"all","first":3,'
            f'"left":["{H64}","{H64}"],"key":"k"}}',
        ),
        (
            bundle.Header(1, "log", "main", 0, (), "k", bundle.Since(2, (H,))),
            '{"type":"header","v":1,"origin":"log","scope":"main","first":0,"left":[],"key":"k",'
            f'"since":{{"size":2,"consistency":["{H64}"]}}}}',
        ),
        (
            bundle.Event(7, H, BODY),
            f'{{"type":"event","leaf":7,"hash":"{H64}","event":{BODY.decode()}}}',
        ),
        (
            bundle.Withheld(0, H, "tenant"),
            f'{{"type":"withheld","leaf":0,"hash":"{H64}","why":"tenant"}}',
        ),
        (
            bundle.Checkpoint(8, (H,), "log\n8\n\n— log sig\n"),
            f'{{"type":"checkpoint","size":8,"consistency":["{H64}"],'
            '"note":"log\\n8\\n\\n— log sig\\n"}',
        ),
        (bundle.Unsealed(BODY), f'{{"type":"unsealed","event":{BODY.decode()}}}'),
        (bundle.End(3, 2, 1), '{"type":"end","leaves":3,"events":2,"unsealed":1}'),
    ],
)
def test_a_line_is_spelled_as_documented(line: bundle.Line, text: str) -> None:
    """Known answers: bundles are kept for years."""
    assert encode(line) == text.encode() + b"\n"
    assert decode(text.encode() + b"\n") == line
    json.loads(text)


@given(lines)
def test_a_line_comes_back_whole(line: bundle.Line) -> None:
    assert decode(encode(line)) == line


@given(lines, st.data())
def test_what_is_read_is_spelled_as_it_would_be_written(
    line: bundle.Line, data: st.DataObject
) -> None:
    encoded = encode(line)
    at = data.draw(st.integers(0, len(encoded) - 1))
    byte = bytes([data.draw(st.integers(0, 255))])
    for changed in (
        encoded[:at] + byte + encoded[at + 1 :],
        encoded[:at] + encoded[at + 1 :],
        encoded[:at] + byte + encoded[at:],
    ):
        try:
            read = decode(changed)
        except BundleMalformed:
            continue
        assert encode(read) == changed


@given(st.binary() | st.binary().map(lambda tail: b'{"type":"e' + tail + b"}\n"))
@example(b"[" * 100_000 + b"\n")
@example(b'{"type":"end","leaves":' + b"[" * 100_000 + b"\n")
@example(b'{"type":"header","v":1,"origin":"\xff"}\n')
@example(b'{"type":"end","leaves":1e400,"events":0,"unsealed":0}\n')
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(BundleMalformed):
        decode(line)


@pytest.mark.parametrize(
    "text",
    [
        f'{{"type":"event","leaf":07,"hash":"{H64}","event":{{}}}}',
        f'{{"type":"event","leaf":-1,"hash":"{H64}","event":{{}}}}',
        f'{{"type":"event","leaf":7, "hash":"{H64}","event":{{}}}}',
        f'{{"type":"event","hash":"{H64}","leaf":7,"event":{{}}}}',
        f'{{"type":"event","leaf":7,"hash":"{H64[:-2]}9=","event":{{}}}}',
        f'{{"type":"event","leaf":7,"hash":"{H64[:-4]}","event":{{}}}}',
        f'{{"type":"event","leaf":7,"hash":"{H64}","event":{{}}}} ',
        f'{{"type":"withheld","leaf":7,"hash":"{H64[:-2]}9=","why":"tenant"}}',
        f'{{"type":"withheld","leaf":7,"hash":"{H64}","why":"because"}}',
        f'{{"type":"withheld","leaf":7.0,"hash":"{H64}","why":"tenant"}}',
        f'{{"type":"withheld","leaf":{MAX_SIZE},"hash":"{H64}","why":"tenant"}}',
        f'{{"type":"withheld","leaf":7,"leaf":7,"hash":"{H64}","why":"tenant"}}',
        f'{{"type":"withheld","leaf":7,"hash":"{H64}","why":"tenant","more":1}}',
        f'{{"leaf":7,"type":"withheld","hash":"{H64}","why":"tenant"}}',
        '{"type":"withheld","leaf":7,"hash":"AAAA","why":"tenant"}',
        '{"type":"end","leaves":true,"events":0,"unsealed":0}',
        '{"type":"end","leaves":0,"events":0}',
        '{"type":"End","leaves":0,"events":0,"unsealed":0}',
        '{"type":"checkpoint","size":1,"consistency":null,"note":"x"}',
        '{"type":"checkpoint","size":1,"consistency":[],"note":"\\u0078"}',
        '{"type":"header","v":2,"origin":"","scope":"","first":0,"left":[],"key":""}',
        '{"type":"header","v":1,"origin":"","scope":"","first":0,"left":[],"key":"","since":null}',
        '{"type":"unsealed", "event":{}}',
        '{"type":"unsealed","event":',
        "null",
    ],
)
def test_every_other_spelling_is_refused(text: str) -> None:
    with pytest.raises(BundleMalformed):
        decode(text.encode() + b"\n")


def test_a_line_ends_in_one_newline_and_has_a_limit() -> None:
    line = encode(bundle.End(0, 0, 0))
    for other in (line[:-1], line[:-1] + b"\r\n", line + b"\n", b"\n" + line, line + line):
        with pytest.raises(BundleMalformed):
            decode(other)
    room = bundle.MAX_LINE_BYTES - len(encode(bundle.Unsealed(b"")))
    assert decode(encode(bundle.Unsealed(b" " * room))) == bundle.Unsealed(b" " * room)
    with pytest.raises(BundleMalformed):
        encode(bundle.Unsealed(b" " * (room + 1)))


def test_what_would_not_be_read_is_not_written() -> None:
    for line in (
        bundle.Event(-1, H, BODY),
        bundle.Event(1, H[1:], BODY),
        bundle.Event(1, H, b"{\n}"),
        bundle.Unsealed(b"{}\n{}"),
        bundle.Withheld(-1, H, "tenant"),
        bundle.End(-1, 0, 0),
    ):
        with pytest.raises(BundleMalformed):
            encode(line)


@given(bodies)
def test_a_leaf_shows_its_event(body: bytes) -> None:
    assert leaf_line(3, H, body) == bundle.Event(3, H, body)


def test_a_body_that_fits_no_line_counts_as_missing() -> None:
    missing = bundle.Withheld(3, H, "missing")
    assert leaf_line(3, H, b"{\n}") == missing
    assert leaf_line(3, H, b" " * bundle.MAX_LINE_BYTES) == missing
    longest = b" " * (bundle.MAX_LINE_BYTES - 128)
    assert decode(encode(leaf_line(MAX_SIZE - 1, H, longest))).body == longest  # type: ignore[union-attr]
