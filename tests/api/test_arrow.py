"""Arrow bodies, both ways, and streams that are meant to hurt."""

from typing import Any

import pyarrow as pa
import pytest

from tests.calling import Caller
from tests.serving import Server
from tests.synthetic import cards

ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}


def stream(table: Any, **options: Any) -> bytes:
    """The table as an IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def _read(content: bytes) -> Any:
    with pa.ipc.open_stream(content) as reader:
        return reader.read_all()


def _table(**columns: Any) -> Any:
    return pa.table(columns)


def _send(caller: Caller, body: bytes, route: str = "tokenize") -> Any:
    return caller.post(f"/v1/{route}", body, headers=ARROW)


def test_both_ways_in_order(server: Server) -> None:
    values = cards(20, seed=61)
    table = _table(
        data_class=pa.array(["pan"] * 21).dictionary_encode(),
        value=pa.array([*values, "4111111111111112"]),
        reference=pa.array([f"r{n}" for n in range(20)] + [None]),
        subject=pa.array(["cus_61"] * 21, pa.large_string()),
        tags=pa.array([[("region", "eu")]] * 20 + [None], pa.map_(pa.string(), pa.string())),
        expires_in=pa.array([3600] * 20 + [None], pa.int64()),
    )
    answer = _send(server.caller("checkout"), stream(table))
    assert answer.status_code == 207
    assert answer.headers["content-type"] == ARROW["Content-Type"]
    made = _read(answer.content)
    assert made.column_names == [
        "index",
        "reference",
        "status",
        "data_class",
        "token",
        "masked",
        "error_code",
        "error_detail",
        "error_retryable",
    ]
    assert made.column("index").to_pylist() == list(range(21))
    assert made.column("reference").to_pylist() == [*[f"r{n}" for n in range(20)], None]
    assert made.column("status").to_pylist() == ["ok"] * 20 + ["error"]
    assert made.column("error_code").to_pylist() == [None] * 20 + ["invalid_value"]
    metadata = made.schema.metadata
    assert metadata[b"request_id"].decode() == answer.headers["x-request-id"]
    tokens = made.column("token").to_pylist()[:20]

    asked = _table(
        token=pa.array(tokens), form=pa.array(["plain", None] * 10), reference=pa.array(["x"] * 20)
    )
    asked = asked.replace_schema_metadata({"purpose": "data_quality", "case": "DQ-1"})
    answer = _send(server.caller("load-tester"), stream(asked), "detokenize")
    assert answer.status_code == 200
    shown = _read(answer.content)
    assert shown.column("form").to_pylist() == ["plain", "masked"] * 10
    assert shown.column("value").to_pylist()[::2] == values[::2]
    assert "*" in shown.column("value")[1].as_py()
    [event] = [
        event
        for event in server.caller("auditor").events(token=tokens[0], action="detokenize")
        if event["id"] == shown.schema.metadata[b"event_id"].decode()
    ]
    assert event["case"] == "DQ-1"


def test_atomic_by_metadata_and_all_failed_is_a_problem(server: Server) -> None:
    table = _table(data_class=["pan", "pan"], value=[*cards(1, seed=62), "1"])
    answer = _send(
        server.caller("checkout"), stream(table.replace_schema_metadata({"mode": "atomic"}))
    )
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"


GOOD = _table(data_class=["pan"], value=["4111111111111111"])
MANY = _table(data_class=["pan"] * 10_001, value=["1"] * 10_001)
TWICE = pa.Table.from_arrays([pa.array(["pan"])] * 3, ["data_class", "value", "value"])
TAGS = pa.map_(pa.string(), pa.string())


@pytest.mark.parametrize(
    ("body", "status", "rule"),
    [
        (b"", 400, "arrow"),
        (b"ARROW1\0\0", 400, "arrow"),
        (b"{}", 400, "arrow"),
        (stream(GOOD)[:-40], 400, "arrow"),
        (stream(GOOD)[:100], 400, "arrow"),
        (stream(GOOD, compression="zstd"), 400, "compression"),
        (stream(GOOD, compression="lz4"), 400, "compression"),
        (stream(GOOD.slice(0, 0)), 400, "min_length"),
        (stream(MANY), 413, "max_length"),
        (stream(TWICE), 400, "duplicate_key"),
        (stream(_table(data_class=["pan"])), 400, "required"),
        (stream(_table(data_class=["pan"], value=["1"], cvv=["123"])), 400, "unknown_field"),
        (stream(_table(data_class=["pan"], value=[1])), 400, "type"),
        (stream(_table(data_class=["pan"], value=[None])), 400, "type"),
        (stream(_table(data_class=["pan"], value=pa.array([None], pa.string()))), 400, "type"),
        (stream(_table(data_class=["pan"], value=[b"1"])), 400, "type"),
        (stream(_table(data_class=["pan"], value=["1"], tags=["x"])), 400, "type"),
        (stream(_table(data_class=["pan"], value=["1"], expires_in=["x"])), 400, "type"),
        (stream(_table(data_class=["pan"], value=["1"], expires_in=[1.5])), 400, "type"),
        (
            stream(
                _table(
                    data_class=["pan"],
                    value=["1"],
                    tags=pa.array([[("a", "1"), ("a", "2")]], TAGS),
                )
            ),
            400,
            "duplicate_key",
        ),
        (
            stream(_table(data_class=["pan"], value=["1"], tags=pa.array([[("a", None)]], TAGS))),
            400,
            "type",
        ),
        (stream(GOOD.replace_schema_metadata({"mode": "all"})), 400, "enum"),
        (stream(GOOD.replace_schema_metadata({"mode": b"\xff"})), 400, "encoding"),
        (
            stream(
                pa.Table.from_batches(
                    _table(data_class=["pan"] * 101, value=["1"] * 101).to_batches(max_chunksize=1)
                )
            ),
            400,
            "batches",
        ),
    ],
)
def test_unusable_streams_are_refused_by_rule(
    server: Server, body: bytes, status: int, rule: str
) -> None:
    answer = _send(server.caller("checkout"), body)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"][0]["rule"] == rule


def test_broken_utf8_and_hostile_offsets(server: Server) -> None:
    checkout = server.caller("checkout")
    body = stream(_table(data_class=["pan"], value=["CANARY-VALUE-77"]))
    broken = body.replace(b"CANARY-VALUE-77", b"CANARY-VALUE\xff\xfe\xfd")
    answer = _send(checkout, broken)
    assert answer.status_code == 400
    assert "CANARY" not in answer.text
    offsets = (0).to_bytes(4, "little") + (15).to_bytes(4, "little")
    assert offsets in body
    for hostile in (b"\xff\xff\xff\x7f", b"\xff\xff\xff\xff", b"\x00\x00\x00\x40"):
        answer = _send(checkout, body.replace(offsets, offsets[:4] + hostile))
        assert answer.status_code == 400
        answer = _send(checkout, body.replace(offsets, hostile + offsets[4:]))
        assert answer.status_code == 400


def test_no_flipped_byte_brings_the_service_down(server: Server) -> None:
    """Every byte of a small stream, three ways; whatever it means then, it is answered."""
    checkout = server.caller("checkout")
    body = stream(_table(data_class=["pan"], value=["1234"]))
    for place in range(len(body)):
        changed = bytearray(body)
        changed[place] ^= (0xFF, 0x01, 0x80)[place % 3]
        answer = _send(checkout, bytes(changed))
        assert 400 <= answer.status_code < 500, place
    assert checkout.get("/readyz").status_code == 200
