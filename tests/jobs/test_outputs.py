"""What is written is what the rows say, in every format, and what does not fit is refused."""

import csv
import io
import json
import tracemalloc
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reporting_jobs.context import Cell, Chart, Context, Output, RunVault, Section
from reporting_jobs.definitions import definitions
from reporting_jobs.failures import RunFailed
from reporting_jobs.outputs import csv_rows, json_rows, parquet_rows, pdf, pdf_text, writing
from reporting_jobs.outputs.checking import CheckedRows
from reporting_jobs.outputs.pdf_charts import bar_chart
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import Format

pytestmark = pytest.mark.usefixtures("tiny")

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
NAMES = ("number", "truth", "text")
ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
        st.none() | st.booleans(),
        st.none() | TEXT,
    ),
    max_size=30,
)
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "'")


def checked(rows: Iterable[Sequence[Cell]], cap: int = 10**6) -> CheckedRows:
    return CheckedRows(rows, NAMES, cap)


def read_csv(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


def written(format: Format, output: Output, cap: int = 10**6, **fields: Any) -> bytes:
    """The output of the report ``tiny`` in a format."""
    context = Context(
        definition=definitions()["tiny"],
        parameters=fields.pop("parameters", {}),
        period="2026-11",
        run_id="run_00000000000000000000000000",
        now=datetime(2026, 11, 25, 6, tzinfo=UTC),
        vault=cast(RunVault, None),
    )
    rows = writing.checked(context, output, cap)
    return b"".join(writing.pieces(format, context, output, rows))


@given(ROWS)
def test_csv_gives_back_what_went_in(rows: list[tuple[Cell, ...]]) -> None:
    head, *lines = read_csv(b"".join(csv_rows.pieces(checked(rows))))
    assert head == list(NAMES)
    assert len(lines) == len(rows)
    for line, (number, truth, text) in zip(lines, rows, strict=True):
        assert line[0] == ("" if number is None else str(number))
        assert line[1] == ("" if truth is None else str(truth).lower())
        assert line[2] in (str(text or ""), f"'{text}")


@given(TEXT)
def test_no_text_of_a_csv_begins_like_a_formula_and_each_can_be_had_back(text: str) -> None:
    (_, line) = read_csv(b"".join(csv_rows.pieces(checked([(None, None, text)]))))
    cell = line[2]
    assert not cell or cell[0] not in "=+-@\t\r\n＝＋－＠"
    assert (cell[1:] if cell.startswith("'") else cell) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_escaped_and_numbers_stay_numbers(text: str) -> None:
    line = read_csv(b"".join(csv_rows.pieces(checked([(-5, None, text)]))))[1]
    assert line == ["-5", "", "'" + text]


@given(ROWS)
def test_json_is_one_object_a_line(rows: list[tuple[Cell, ...]]) -> None:
    data = b"".join(json_rows.pieces(checked(rows)))
    assert data == b"" or data.endswith(b"\n")
    lines = [json.loads(line) for line in data.split(b"\n")[:-1]]
    assert [tuple(line.items()) for line in lines] == [
        tuple(zip(NAMES, row, strict=True)) for row in rows
    ]


@given(ROWS)
def test_parquet_gives_back_what_went_in(rows: list[tuple[Cell, ...]]) -> None:
    table = pq.read_table(io.BytesIO(b"".join(parquet_rows.pieces(checked(rows)))))
    assert table.column_names == list(NAMES)
    assert [tuple(row.values()) for row in table.to_pylist()] == rows


def test_a_column_of_parquet_that_is_empty_at_first_becomes_text() -> None:
    rows: list[tuple[Cell, ...]] = [(None, None, "x")] * 10_000 + [(7, True, "y")]
    table = pq.read_table(io.BytesIO(b"".join(parquet_rows.pieces(checked(rows)))))
    assert table.to_pylist()[-1] == {"number": "7", "truth": "true", "text": "y"}


def test_a_fraction_in_a_column_of_integers_of_parquet_is_refused() -> None:
    rows: list[tuple[Cell, ...]] = [(1, None, None)] * 10_000 + [(1.5, None, None)]
    with pytest.raises(RunFailed) as refused:
        list(parquet_rows.pieces(checked(rows)))
    assert refused.value.code == FailureCode.OUTPUT_INVALID


@pytest.mark.parametrize(
    "rows",
    [
        [(1, True)],
        [(1, True, "x", "y")],
        [(1, True, "x"), ("1", True, "x")],
        [(1, 1, "x"), (1, True, "x")],
        [(float("nan"), True, "x")],
        [(2**63, True, "x")],
        [(1, True, "\ud800")],
        [(1, True, "x" * 32_768)],
        [(1, True, b"x")],
        [(1, True, ["x"])],
    ],
)
@pytest.mark.parametrize("format", [csv_rows, json_rows, parquet_rows])
def test_rows_that_the_definition_does_not_describe_are_refused(rows: Any, format: Any) -> None:
    with pytest.raises(RunFailed) as refused:
        list(format.pieces(checked(rows)))
    assert refused.value.code == FailureCode.OUTPUT_INVALID


@pytest.mark.parametrize("format", list(Format))
def test_one_row_more_than_the_cap_is_refused_and_the_cap_is_not(format: Format) -> None:
    rows = [("tok", "a@mail.example")] * 3
    assert written(format, Output(rows), cap=3)
    with pytest.raises(RunFailed) as refused:
        written(format, Output(rows), cap=2)
    assert refused.value.code == FailureCode.ROW_CAP_EXCEEDED


def test_rows_beyond_the_cap_are_not_even_asked_for() -> None:
    asked = []

    def rows() -> Iterable[Sequence[Cell]]:
        for number in range(100):
            asked.append(number)
            yield (number, None, None)

    with pytest.raises(RunFailed):
        list(csv_rows.pieces(checked(rows(), cap=5)))
    assert asked == list(range(6))


def test_a_pdf_is_the_same_for_the_same_content_and_says_what_it_is_of() -> None:
    section = Section(
        "By class & <kind>",
        paragraphs=["Of 2026 <b>"],
        head=["class", "tokens"],
        rows=[("pan", 1200), ("email", None)],
        chart=Chart("Tokens", ["pan", "email"], [1200, 300], "tokens"),
    )
    output = Output([("tok_1", "名 a@mail.example")], lambda: [section])
    first = written(Format.PDF, output, parameters={"days": 90})
    assert first.startswith(b"%PDF-")
    assert first == written(Format.PDF, output, parameters={"days": 90})
    assert first != written(Format.PDF, output, parameters={"days": 91})


def test_what_the_fonts_of_a_pdf_lack_is_written_as_its_code_point() -> None:
    assert pdf_text.shown("Zoë – 名") == "Zoë – [U+540D]"


def test_a_pdf_of_many_pages_is_refused() -> None:
    rows: list[tuple[Cell, ...]] = [("t", "e")] * (pdf.MAX_ROWS + 1)
    with pytest.raises(RunFailed, match="5,000 rows"):
        written(Format.PDF, Output(rows))


def test_sections_of_a_pdf_are_asked_for_after_the_rows() -> None:
    order: list[str] = []

    def rows() -> Iterable[Sequence[Cell]]:
        order.append("rows")
        yield ("tok", "a@mail.example")

    def sections() -> Sequence[Section]:
        order.append("sections")
        return ()

    written(Format.PDF, Output(rows(), sections))
    assert order == ["rows", "sections"]


@pytest.mark.parametrize("chart", [Chart("t", ["a"], [1, 2]), Chart("t", ["a", "b"], [1, -2])])
def test_a_chart_that_would_mislead_is_refused(chart: Chart) -> None:
    with pytest.raises(ValueError, match="bar chart"):
        bar_chart(chart, 400)


@pytest.mark.parametrize("format", [csv_rows, json_rows, parquet_rows])
def test_memory_does_not_grow_with_the_rows(format: Any, tmp_path: Path) -> None:
    def most(count: int) -> int:
        rows = ((number, True, f"person{number}@mail.example") for number in range(count))
        tracemalloc.start()
        for piece in format.pieces(checked(rows)):
            assert len(piece) < 4 << 20
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few = most(20_000)
    assert most(100_000) < few + (2 << 20)
