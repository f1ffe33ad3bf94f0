"""Tables: every file kind read and written, text kept to the byte, memory kept flat."""

import csv
import io
import json
from datetime import date
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vault_service.client.table_csv import CsvReader
from vault_service.client.tables import (
    RowBatch,
    TableError,
    is_clean,
    open_table,
    open_writer,
)


def _copy(source: Path, target: Path, replaced: dict[str, str] | None = None) -> None:
    """Copies the table; a replaced column gets a mark before each value."""
    replaced = replaced or {}
    with (
        open_table(source, batch_rows=3) as table,
        open_writer(target, table, list(replaced)) as writer,
    ):
        for batch in table:
            columns = {
                name: [None if t is None else mark + t for t in batch.texts(name)]
                for name, mark in replaced.items()
            }
            writer.write(batch.replaced(columns))


def _batches(path: Path, batch_rows: int = 3) -> list[RowBatch]:
    with open_table(path, batch_rows=batch_rows) as table:
        return list(table)


def _rows(path: Path) -> list[dict[str, str | None]]:
    return [
        dict(zip(batch.names, values, strict=True))
        for batch in _batches(path)
        for values in zip(*(batch.texts(name) for name in batch.names), strict=True)
    ]


AWKWARD = (
    b"id,first name,notes\r\n"
    b'1,S\xc3\x83\xc2\xa1nchez,"two\r\nlines, and a comma"\r\n'
    b'2,,""\r\n'
    b'3,"Say ""hi""", spaces \r\n'
    b'4,a"b,last\xff\r\n'
)


def test_awkward_csv_is_read_exactly_and_knows_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(AWKWARD)
    batches = _batches(path)

    assert [line for batch in batches for line in batch.lines] == [2, 4, 5, 6]
    assert _rows(path) == [
        {"id": "1", "first name": "S\u00c3\u00a1nchez", "notes": "two\r\nlines, and a comma"},
        {"id": "2", "first name": None, "notes": ""},
        {"id": "3", "first name": 'Say "hi"', "notes": " spaces "},
        {"id": "4", "first name": 'a"b', "notes": "last\udcff"},
    ]


def test_csv_copies_to_the_byte(tmp_path: Path) -> None:
    source = AWKWARD.replace(b'a"b', b'"a""b"')
    (tmp_path / "a.csv").write_bytes(source)
    _copy(tmp_path / "a.csv", tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_bytes() == source


fields = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(fields, min_size=n, max_size=n))))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_any_text_survives_every_way_through_the_formats(
    tmp_path: Path, rows: list[list[str | None]]
) -> None:
    width = len(rows[0]) if rows else 1
    path = tmp_path / "a.csv"
    names = [f"c{i}" for i in range(width)]
    quoted = (["" if f is None else '"' + f.replace('"', '""') + '"' for f in row] for row in rows)
    path.write_text(
        "\n".join(",".join(fields) for fields in [names, *quoted]) + "\n",
        encoding="utf-8",
        newline="",
    )
    expected = [dict(zip(names, row, strict=True)) for row in rows]

    assert _rows(path) == expected
    for way in (["b.csv"], ["b.parquet", "c.csv"], ["b.ndjson", "c.parquet", "d.ndjson"]):
        at = path
        for name in way:
            _copy(at, tmp_path / name)
            at = tmp_path / name
        assert _rows(at) == expected


@given(st.lists(st.lists(st.text(max_size=8), min_size=2, max_size=4), min_size=1))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_csv_is_read_as_the_standard_library_reads_it(
    tmp_path: Path, rows: list[list[str]]
) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([["a", "b"], *rows])
    path = tmp_path / "a.csv"
    path.write_text(text.getvalue(), encoding="utf-8", newline="")
    standard = list(csv.reader(io.StringIO(text.getvalue(), newline="")))

    batches = _batches(path)
    good = [[t or "" for t in row] for batch in batches for row in zip(
        *(batch.texts(name) for name in batch.names), strict=True
    )]  # fmt: skip
    assert good == [row for row in standard[1:] if len(row) == 2]
    assert sum(len(batch.bad) for batch in batches) == sum(len(r) != 2 for r in standard[1:])


def test_rows_of_another_width_are_set_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,2\n3\n\n4,5,6\n7,8\n")
    [batch] = _batches(path, batch_rows=10)

    assert (batch.texts("a"), batch.lines) == (["1", "7"], [2, 6])
    assert [(bad.line, bad.fields) for bad in batch.bad] == [(3, ("3",)), (5, ("4", "5", "6"))]
    assert "'6'" not in repr(batch.bad[1])


@pytest.mark.parametrize(
    ("header", "delimiter"),
    [("a;b", ";"), ("a\tb", "\t"), ("a|b", "|"), ("a,b;c", ","), ("a", ",")],
)
def test_the_delimiter_is_taken_from_the_header(
    tmp_path: Path, header: str, delimiter: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(header + "\n")
    with CsvReader(path, 10) as table:
        assert table.dialect.delimiter == delimiter
        assert list(table.names) == header.split(delimiter)


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"\xef\xbb\xbfid,b\n1,2\n")
    (tmp_path / "a.ndjson").write_bytes(b'\xef\xbb\xbf{"id":"1"}\n')
    assert _rows(tmp_path / "a.csv") == [{"id": "1", "b": "2"}]
    assert _rows(tmp_path / "a.ndjson") == [{"id": "1"}]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "a,b\n1,2\n".encode("utf-16")),
        ("a.csv", b'a,b\n1,"4111111111111111\n' + b"x\n" * 10),
        ("a.csv", b"a,b\n" + b"4111111111111111" * 2**20 + b"!\n"),
        ("a.csv", b'a,b\n"' + b"4111111111111111\n" * 2**20 + b'",2\n'),
        ("a.ndjson", b"4111111111111111" * 2**20 + b"!\n"),
        ("a.parquet", b"4111111111111111"),
        ("a.xlsx", b"4111111111111111"),
    ],
)
def test_an_unreadable_file_is_an_error_that_repeats_nothing(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TableError) as caught:
        _batches(tmp_path / name)
    assert "4111" not in str(caught.value)


def test_a_damaged_parquet_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"a": [str(i) * 20 for i in range(10_000)]}), path)
    content = bytearray(path.read_bytes())
    content[100:4000] = bytes(3900)
    path.write_bytes(content)
    with pytest.raises(TableError):
        _batches(path, batch_rows=1000)


def test_json_values_keep_their_spelling(tmp_path: Path) -> None:
    lines = [
        '{"n":1.10,"big":123456789012345678901234567890,"s":"x\\u00e9","o":{"b": [1, 2]},"z":null}',
        '{"n":2}',
        '{"extra":true,"n":3e5}',
    ]
    path = tmp_path / "a.ndjson"
    path.write_text("\n".join(lines) + "\n\n")
    _copy(path, tmp_path / "b.ndjson")
    assert (tmp_path / "b.ndjson").read_text().splitlines() == lines

    [batch] = _batches(path)
    assert batch.texts("n") == ["1.10", "2", "3e5"]
    assert batch.texts("s") == ["x\u00e9", None, None]
    assert batch.texts("o") == ['{"b": [1, 2]}', None, None]
    assert batch.texts("nowhere") == [None, None, None]


def test_json_fields_are_replaced_where_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_text('{"pan":4111,"x":1}\n{"x":2}\n{"pan":null}\n')
    _copy(path, tmp_path / "b.ndjson", {"pan": "tok_"})
    assert (tmp_path / "b.ndjson").read_text().splitlines() == [
        '{"pan":"tok_4111","x":1}',
        '{"x":2}',
        '{"pan":null}',
    ]


def test_lines_that_are_no_objects_are_set_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(b'{"a":"1"}\n[1]\n{"a":\n{"a":"\xff"}\n{"a":"\\ud800"}\n')
    [batch] = _batches(path, batch_rows=10)
    assert [bad.line for bad in batch.bad][:2] == [2, 3]
    assert batch.lines[0] == 1
    texts = [text for text in batch.texts("a") if text is not None]
    assert texts[0] == "1"
    assert not any(is_clean(text) for text in texts[1:])
    assert len(texts) + len(batch.bad) == 5


def test_parquet_keeps_types_and_tokens_become_strings(tmp_path: Path) -> None:
    table = pa.table(
        {
            "card": pa.array([4111111111111111, None], pa.int64()),
            "day": pa.array([date(2024, 1, 2), None]),
            "amount": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
            "rate": pa.array([4344676511950444.0, None]),
            "tags": pa.array([["a", "b"], None]),
            "kind": pa.array(["x", "x"]).dictionary_encode(),
        }
    ).replace_schema_metadata({"pandas": "{}", "owner": "data"})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path)
    _copy(path, tmp_path / "b.parquet", {"card": "tok_"})

    result = pq.read_table(tmp_path / "b.parquet")
    assert result.column("card").to_pylist() == ["tok_4111111111111111", None]
    assert result.drop(["card"]).equals(table.drop(["card"]))
    assert result.schema.metadata == {b"owner": b"data"}

    [batch] = _batches(path)
    assert batch.texts("rate") == ["4344676511950444.0", None]
    assert batch.texts("amount") == ["1.10", None]
    assert list(batch.lines) == [1, 2]
    _copy(path, tmp_path / "b.ndjson")
    first = json.loads((tmp_path / "b.ndjson").read_text().splitlines()[0])
    assert first["card"] == 4111111111111111
    assert first["tags"] == ["a", "b"]
    assert first["day"] == "2024-01-02"


def test_kept_rows_and_new_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,x\n2,y\n3,z\n")
    (tmp_path / "a.ndjson").write_text('{"a":"1"}\n{"a":"2"}\n{"a":"3"}\n')
    pq.write_table(pa.table({"a": ["1", "2", "3"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.ndjson", "a.parquet"):
        source, target = tmp_path / name, tmp_path / f"b{Path(name).suffix}"
        with open_table(source) as table, open_writer(target, table, ["c"]) as writer:
            for batch in table:
                writer.write(batch.kept([2, 0]).replaced({"c": ["p", None]}))
        assert [(r["a"], r.get("c")) for r in _rows(target)] == [("3", "p"), ("1", None)]


def test_repeated_names_are_told_apart(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,a,b\n1,2,3\n")
    assert _rows(tmp_path / "a.csv") == [{"a": "1", "a#2": "2", "b": "3"}]


def test_broken_text_is_refused_for_parquet_by_line(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,2\n3,\xff\n")
    with pytest.raises(TableError, match=r"^line 3: "):
        _copy(tmp_path / "a.csv", tmp_path / "b.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]


def test_a_column_that_comes_late_is_refused_where_columns_are_fixed(tmp_path: Path) -> None:
    (tmp_path / "a.ndjson").write_text('{"a":"1"}\n' * 3 + '{"b":"2"}\n')
    for target in ("b.csv", "b.parquet"):
        with pytest.raises(TableError, match=r"^line 4: "):
            _copy(tmp_path / "a.ndjson", tmp_path / target)
