"""``strongroom scan``: planted values are found where they are, and never shown."""

import importlib.util
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from vault_service.cli.scan import scan

app = typer.Typer()
app.command()(scan)

SECRETS = [
    "4111",
    "5555",
    "378282",
    "3704",
    "ada@",
    "shop.example",
    "15123456789",
    "123-45",
    "6789",
]

Row = tuple[str, str, str]
ROWS: list[Row] = [
    ("ord-1", "card 4111 1111 1111 1111 declined", "Ada"),
    ("ord-2", "5555-5555-5555-4444; then 4111111111111111", "Bob"),
    ("ord-3", "378282246310005.0", "Cleo"),
    ("ord-4", "pay DE89370400440532013000", "Dora"),
    ("ord-5", "ada@shop.example or +4915123456789", "Emil"),
    ("ord-6", "123-45-6789", "Fay"),
    ("ord-7", "nothing here", "Gus"),
    ("ord-8", "4111111111111111", "Hal"),
]
NAMES = ("id", "note", "first name")
EXPECTED = {"pan": 5, "iban": 1, "email": 1, "phone": 1, "us_ssn": 1}


def _run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def _report(*paths: str | Path, minimum: str = "medium") -> tuple[int, dict[str, Any]]:
    code, _ = _run(*paths, "--min-confidence", minimum)
    result = CliRunner().invoke(app, [*map(str, paths), "--json", "--min-confidence", minimum])
    assert result.exit_code == code
    return code, json.loads(result.stdout)


def _write_csv(path: Path) -> None:
    lines = [",".join(NAMES), *(",".join(row) for row in ROWS)]
    path.write_text("\n".join(lines) + "\n")


def _write_tsv(path: Path) -> None:
    path.write_text("\n".join("\t".join(row) for row in [NAMES, *ROWS]) + "\n")


def _write_ndjson(path: Path) -> None:
    path.write_text("\n" + "\n".join(json.dumps(dict(zip(NAMES, r, strict=True))) for r in ROWS))


def _arrow() -> pa.Table:
    return pa.table({name: [row[i] for row in ROWS] for i, name in enumerate(NAMES)})


def _write_parquet(path: Path) -> None:
    pq.write_table(_arrow(), path)


def _write_duckdb(path: Path) -> None:
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE SCHEMA sales")
        connection.register("given", _arrow())
        connection.execute('CREATE TABLE sales."odd ""name" AS SELECT * FROM given')
        connection.execute("CREATE TABLE clean AS SELECT 1 AS id, DATE '2024-01-02' AS day")


WRITERS: dict[str, tuple[Callable[[Path], None], int]] = {
    ".csv": (_write_csv, 2),
    ".tsv": (_write_tsv, 2),
    ".ndjson": (_write_ndjson, 2),
    ".jsonl": (_write_ndjson, 2),
    ".parquet": (_write_parquet, 1),
    ".duckdb": (_write_duckdb, 1),
}


@pytest.mark.parametrize("suffix", WRITERS)
def test_planted_values_are_found_in_every_format(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"orders{suffix}"
    write, first = WRITERS[suffix]
    write(path)
    code, report = _report(path)

    assert code == 1
    found = report["findings"]
    assert {f["kind"]: f["count"] for f in found} == EXPECTED
    assert {f["column"] for f in found} == {"note"}
    assert {f["table"] for f in found} == ({'sales.odd "name'} if suffix == ".duckdb" else {None})
    lines = {f["kind"]: f["lines"] for f in found}
    assert lines["pan"] == [first, first + 1, first + 2, first + 7]
    assert lines["us_ssn"] == [first + 5]


@pytest.mark.parametrize("suffix", [".txt", ".log"])
def test_text_is_scanned_line_by_line(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"service{suffix}"
    path.write_text("\n".join(row[1] for row in ROWS))
    code, report = _report(path)
    assert code == 1
    assert {f["kind"]: f["count"] for f in report["findings"]} == EXPECTED
    assert {f["column"] for f in report["findings"]} == {"(line)"}


@pytest.mark.parametrize("suffix", [*WRITERS, ".txt"])
def test_no_planted_value_is_shown(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"orders{suffix}"
    WRITERS.get(suffix, (_write_csv, 2))[0](path)
    for arguments in ([path], [path, "--json"], [path, "--min-confidence", "low"]):
        _, output = _run(*arguments)
        assert [secret for secret in SECRETS if secret in output] == []


def test_a_file_without_a_header_line_does_not_show_its_first_row(tmp_path: Path) -> None:
    path = tmp_path / "4111111111111111.csv"
    path.write_text("ada@shop.example,4111111111111111,33332664695310\nbob@b.example,x,y\n")
    code, report = _report(path)
    _, output = _run(path)
    assert code == 1
    assert {f["kind"]: f["count"] for f in report["findings"]} == {"email": 2, "pan": 1}
    assert [s for s in (*SECRETS, "33332664695310") if s in output + json.dumps(report)] == []


def test_values_in_json_keys_and_nested_objects_are_found(tmp_path: Path) -> None:
    path = tmp_path / "events.ndjson"
    nested = '{"cards": [{"number": 4111111111111111}, {"number": "5555\\u00a05555 5555 4444"}]}'
    escaped = '{"n": "5555\\u00a05555\\u00a05555\\u00a04444"}'
    path.write_text(
        f'{{"order": {nested}}}\n{{"order": {escaped}}}\n{{"ada@shop.example": 1}}\n'
        '{"ada@shop.example": 2, "x": null}\n'
    )
    code, report = _report(path)
    found = [(f["column"], f["kind"], f["count"], f["lines"]) for f in report["findings"]]
    assert code == 1
    assert sorted(found) == [("(keys)", "email", 2, [3, 4]), ("order", "pan", 3, [1, 2])]


def test_rows_that_do_not_fit_are_scanned_too(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3,4,4111111111111111\n")
    (tmp_path / "b.ndjson").write_text('{"a":1}\n{"a": 4111111111111111\n')
    code, report = _report(tmp_path)
    assert code == 1
    assert [(f["kind"], f["lines"]) for f in report["findings"]] == [("pan", [3]), ("pan", [2])]


@pytest.mark.parametrize("suffix", [".parquet", ".duckdb"])
def test_numbers_that_became_numbers_are_found(tmp_path: Path, suffix: str) -> None:
    table = pa.table(
        {
            "whole": pa.array([4111111111111111, 7], pa.int64()),
            "float": [4344676511950444.0, 1.5],
            "fixed": pa.array([Decimal("5555555555554444.00"), None], pa.decimal128(18, 2)),
            "listed": [[4111111111111111, 1], None],
            "day": pa.array([0, 1], pa.date32()),
            "small": pa.array([1, 2], pa.int8()),
        }
    )
    path = tmp_path / f"cards{suffix}"
    if suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with duckdb.connect(str(path)) as connection:
            connection.register("given", table)
            connection.execute("CREATE TABLE cards AS SELECT * FROM given")
    code, report = _report(path)
    assert code == 1
    found = [(f["column"], f["kind"], f["count"], f["lines"]) for f in report["findings"]]
    assert found == [(c, "pan", 1, [1]) for c in ("whole", "float", "fixed", "listed")]


def test_repeated_values_are_each_counted(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "x,4111111111111111\n" * 25_000)
    _, report = _report(path)
    assert [(f["count"], f["lines"]) for f in report["findings"]] == [(25_000, [2, 3, 4, 5, 6])]
    assert report["values"] == 50_000


def test_less_sure_findings_need_to_be_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,212-555-0123\n2,+4915123456789\n3,123-45-6789\n")
    kinds = {
        minimum: {f["kind"]: f["count"] for f in _report(path, minimum=minimum)[1]["findings"]}
        for minimum in ("low", "medium", "high")
    }
    assert kinds == {
        "low": {"phone": 2, "us_ssn": 1},
        "medium": {"phone": 1, "us_ssn": 1},
        "high": {"phone": 1},
    }


def test_a_clean_file_exits_0(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,day,amount\n1,2024-01-02,19.99\n")
    code, report = _report(path)
    assert (code, report["findings"], report["files"], report["values"]) == (0, [], 1, 3)


def test_what_cannot_be_read_exits_2_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("4111111111111111")
    (tmp_path / "a.duckdb").write_text("4111111111111111" * 1000)
    (tmp_path / "a.xlsx").write_text("4111111111111111")
    (tmp_path / "empty").mkdir()
    for name in ("a.parquet", "a.duckdb", "a.xlsx", "empty", "missing.csv", "missing.duckdb"):
        code, output = _run(tmp_path / name)
        assert code == 2
        assert f"not scanned: {tmp_path / name}: " in output
        assert "4111" not in output
    assert _run()[0] == 2


def test_a_folder_is_scanned_whole_and_a_finding_outweighs_trouble(tmp_path: Path) -> None:
    inner = tmp_path / "in" / "ner"
    inner.mkdir(parents=True)
    _write_csv(inner / "orders.csv")
    (tmp_path / "broken.parquet").write_text("x")
    (tmp_path / "picture.png").write_text("4111111111111111")
    code, report = _report(tmp_path)
    assert code == 1
    assert {f["file"] for f in report["findings"]} == {str(inner / "orders.csv")}
    assert [entry["file"] for entry in report["unreadable"]] == [str(tmp_path / "broken.parquet")]
    assert report["skipped"] == [str(tmp_path / "picture.png")]


def test_without_duckdb_the_message_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_duckdb(tmp_path / "a.duckdb")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "duckdb" else find_spec(name)
    )
    code, output = _run(tmp_path / "a.duckdb")
    assert code == 2
    assert "strongroom[warehouse]" in output
