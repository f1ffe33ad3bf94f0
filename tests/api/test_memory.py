"""A request costs at most ten times its body in memory, whatever it is made of.

Measured on the worker's memory: what the request adds, at its peak, to what the worker
had. Where a request sets a new record, the kernel's own (``VmHWM``) counts; else what a
thread saw that looks all the while, for the record cannot be set back by a stranger: the
service lets nobody look into it. What is small whatever the body is has a fixed allowance.
"""

import json
import struct
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from tests.api.test_arrow import ARROW, stream
from tests.serving import Serve, Server
from tests.synthetic import cards

MIB = 1024 * 1024
ALLOWANCE = 12 * MIB
"""Buffers of the server and of the allocator, and objects of the request itself."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="peaks are read from /proc")


@pytest.fixture(scope="module")
def server(serve_module: Serve) -> Server:
    server = serve_module(workers=1)
    # Every data key, library and buffer that ordinary work needs is there before.
    loader, tester = server.caller("warehouse-loader"), server.caller("load-tester")
    for _ in range(3):
        tokens = loader.tokenize("pan", cards(10_000, seed=81), subject="s")
        tester.detokenize(tokens, "data_quality")
    loader.post(
        "/v1/tokenize", stream(pa.table({"data_class": ["pan"], "value": ["1"]})), headers=ARROW
    )
    return server


def _status(server: Server, name: str) -> int:
    assert server.process is not None
    for line in Path(f"/proc/{server.process.pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(name)


def _growth(server: Server, body: bytes, path: str, headers: dict[str, str]) -> tuple[int, int]:
    """How far the worker's memory rose for the request, in bytes, and the answer's status."""
    caller = server.caller("load-tester")
    record, before = _status(server, "VmHWM"), _status(server, "VmRSS")
    seen, answered = [before], threading.Event()

    def look() -> None:
        while not answered.wait(0.001):
            seen.append(_status(server, "VmRSS"))

    with ThreadPoolExecutor(1) as threads:
        looking = threads.submit(look)
        answer = caller.post(path, body, headers=headers)
        answered.set()
        looking.result()
    new_record = _status(server, "VmHWM")
    peak = new_record if new_record > record else max(seen)
    return peak - before, answer.status_code


def _filled(head: bytes, piece: bytes, tail: bytes, size: int, comma: bytes = b",") -> bytes:
    count = (size - len(head) - len(tail)) // (len(piece) + len(comma))
    return head + comma.join([piece] * count) + tail


ONE = b'{"items":[{"data_class":"pan","value":"4111111111111111"'


def _tags(spaced: bytes) -> Callable[[int], bytes]:
    def make(size: int) -> bytes:
        count = (size - 100) // (len(spaced) + 12)
        pairs = b",".join(b'"%06x"%b:""' % (number, spaced) for number in range(count))
        return ONE + b',"tags":{' + pairs + b"}}]}"

    return make


def _lawful(size: int) -> bytes:
    """10,000 items that fill the body, as a caller may send them."""
    text = "x" * ((size - 600_000) // 10_000)
    return json.dumps(
        {"items": [{"data_class": "free_text", "value": f"{n:05}{text}"} for n in range(10_000)]}
    ).encode()


BODIES: dict[str, tuple[str, Callable[[int], bytes]]] = {
    "lawful": ("/v1/tokenize", _lawful),
    "tiny items": (
        "/v1/detokenize",
        lambda n: _filled(b'{"items":[', b'{"token":""}', b"]}", n),
    ),
    "tiny spaced items": (
        "/v1/detokenize",
        lambda n: _filled(b'{"items":[', b'{"token" :""}', b"]}", n),
    ),
    "empty items": ("/v1/tokenize", lambda n: _filled(b'{"items":[', b"{}", b"]}", n)),
    "as many items as are read": (
        "/v1/detokenize",
        lambda _: _filled(b'{"items":[', b'{"token":""}', b"]}", 2_800_000),
    ),
    "as many tags as are read": ("/v1/tokenize", lambda _: _tags(b"")(2_600_000)),
    "as many spaced tags as are read": ("/v1/tokenize", lambda _: _tags(b" ")(2_800_000)),
    "many tags": ("/v1/tokenize", _tags(b"")),
    "many spaced tags": ("/v1/tokenize", _tags(b" ")),
    "one tag again and again": (
        "/v1/tokenize",
        lambda n: _filled(ONE + b',"tags":{', b'"a" :""', b"}}]}", n),
    ),
    "one long value": (
        "/v1/tokenize",
        lambda n: b'{"items":[{"data_class":"pan","value":"%s"}]}' % (b"4" * n),
    ),
    "one long value, wide": (
        "/v1/tokenize",
        lambda n: '{{"items":[{{"data_class":"pan","value":"😀{}"}}]}}'.format("4" * n).encode(),
    ),
    "one long value, wide and twice": (
        "/v1/tokenize",
        lambda n: (
            '{{"items":[{{"data_class":"pan","value" :"😀{}","value" :""}}]}}'.format("4" * n)
        ).encode(),
    ),
    "one long value, escaped": (
        "/v1/tokenize",
        lambda n: _filled(b'{"items":[{"data_class":"pan","value":"', b"\\u0041", b'"}]}', n, b""),
    ),
    "a class name that swells": (
        "/v1/tokenize",
        lambda n: (
            '{{"items":[{{"data_class":"{}","value":"1"}}]}}'.format("ﷺ" * (n // 3))
        ).encode(),
    ),
    "a form that swells": (
        "/v1/detokenize",
        lambda n: (
            '{{"purpose":"data_quality","items":[{{"token":"a","form":"{}"}}]}}'.format(
                "ﷺ" * (n // 3)
            )
        ).encode(),
    ),
    "a long unknown field": (
        "/v1/tokenize",
        lambda n: b'{"%s":1}' % (b"\x7f" * n),
    ),
    "a long action": (
        "/v1/policy/explain",
        lambda n: b'{"action":"%s"}' % (b"\x7f" * n),
    ),
    "a long number": (
        "/v1/tokenize",
        lambda n: ONE + b',"expires_in":%s}]}' % (b"9" * n),
    ),
    "arrays": ("/v1/tokenize", lambda n: b"[" * n),
    "arrays for items": ("/v1/tokenize", lambda n: _filled(b'{"items":[', b"[]", b"]}", n)),
    "numbers": ("/v1/tokenize", lambda n: _filled(b"[", b"0", b"]", n)),
    "white space": ("/v1/tokenize", lambda n: b" " * n),
}


@pytest.mark.parametrize("size", [4, 16])
@pytest.mark.parametrize("name", BODIES)
def test_json(server: Server, name: str, size: int) -> None:
    path, make = BODIES[name]
    body = make(size * MIB - 1024)
    assert len(body) <= size * MIB
    grown, status = _growth(server, body, path, {})
    assert status < 500
    assert (status == 200) == (name == "lawful")
    assert grown <= 10 * len(body) + ALLOWANCE, f"{grown / len(body):.1f} times the body"


def _dictionary(size: int) -> bytes:
    """10,000 rows that all point at one long entry."""
    values = pa.DictionaryArray.from_arrays(pa.array([0] * 10_000, pa.int32()), ["4" * size])
    return stream(pa.table({"data_class": ["pan"] * 10_000, "value": values}))


def _wide(size: int) -> bytes:
    texts = ["😀" + "x" * (size // 40_000)] * 10_000
    return stream(pa.table(dict.fromkeys(("data_class", "value", "reference", "subject"), texts)))


def _shared(size: int) -> bytes:
    """Four columns over the same bytes: the short ones are made to point at the long."""
    texts = {"data_class": "a" * 3, "value": "x" * size, "reference": "b" * 5, "subject": "c" * 7}
    body = bytearray(stream(pa.table({name: [text] for name, text in texts.items()})))
    batch = body.index(b"\xff\xff\xff\xff", 4)
    long_at = body.index(struct.pack("<q", size), batch) - 8
    for text in texts.values():
        length = len(text)
        at = body.index(struct.pack("<q", length), batch) - 8
        body[at : at + 16] = body[long_at : long_at + 16]
        offsets = struct.pack("<ii", 0, length)
        at = body.rindex(offsets)
        body[at : at + 8] = struct.pack("<ii", 0, size)
    return bytes(body)


def _batches(size: int) -> bytes:
    batch = pa.record_batch({"data_class": ["pan"], "value": ["1"]})
    empty = batch.slice(0, 0)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        while sink.tell() < size:
            writer.write_batch(empty)
    return bytes(sink.getvalue())[:size]


def _columns(size: int) -> bytes:
    fields = [pa.field(f"c{number:06}", pa.string()) for number in range(size // 110)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, pa.schema(fields)):
        pass
    return bytes(sink.getvalue())


def _bomb(size: int) -> bytes:
    table = pa.table({"data_class": ["pan"], "value": pa.array(["4" * (size * 8)])})
    return stream(table, compression="zstd")


STREAMS: dict[str, Callable[[int], bytes]] = {
    "dictionary": _dictionary,
    "wide texts": _wide,
    "shared buffers": _shared,
    "empty batches": _batches,
    "columns": _columns,
    "compressed": _bomb,
}


@pytest.mark.parametrize("size", [4, 15])
@pytest.mark.parametrize("name", STREAMS)
def test_arrow(server: Server, name: str, size: int) -> None:
    body = STREAMS[name](size * MIB)
    grown, status = _growth(server, body, "/v1/tokenize", ARROW)
    assert 400 <= status < 500
    assert grown <= 10 * len(body) + ALLOWANCE, f"{grown / len(body):.1f} times the body"
