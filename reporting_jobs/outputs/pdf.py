"""A PDF for people: title, parameters, sections with tables and charts, then the rows.

Made in memory, so that rows are bounded: a PDF of more pages than anyone reads is refused,
and the report has to be run in another format. The same content gives the same bytes.

The standard fonts know Latin script alone. What they lack is written as its code point
(``U+4E2D``), so that nothing is lost silently; the other formats hold every text as it is.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from html import escape
from typing import TYPE_CHECKING, Any, Final

from reporting_jobs.context import Cell, Output, Section
from reporting_jobs.failures import RunFailed
from reporting_jobs.outputs.checking import CheckedRows
from reporting_jobs.outputs.pdf_text import shown
from vault_service.domain.report_failures import FailureCode
from vault_service.domain.reports import ReportDefinition

if TYPE_CHECKING:
    from reportlab.platypus import Flowable

MAX_ROWS: Final = 5_000
_MARGIN: Final = 42  # points
_GREY: Final = "#6b7280"


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands above everything: which run of which report this is, with what
    parameters, for which period, and when it was made (RFC 3339)."""

    definition: ReportDefinition
    run_id: str
    parameters: Mapping[str, Any]
    period: str
    made_at: str


def pieces(heading: Heading, output: Output, rows: CheckedRows) -> Iterator[bytes]:
    """The file, whole. Raises ``output_invalid`` for more than 5,000 rows."""
    listed: list[Sequence[Cell]] = []
    for row in rows:
        if len(listed) == MAX_ROWS:
            raise RunFailed(
                FailureCode.OUTPUT_INVALID,
                "A PDF has at most 5,000 rows; run the report as csv, json or parquet.",
            )
        listed.append(row)
    yield _document(heading, output.sections(), rows.columns, listed)


def _document(
    heading: Heading,
    sections: Sequence[Section],
    columns: Sequence[str],
    rows: Sequence[Sequence[Cell]],
) -> bytes:
    from reportlab.lib.pagesizes import A4, landscape
    from reportlab.platypus import SimpleDocTemplate

    title = heading.definition.title
    size = landscape(A4) if len(columns) > 6 else A4
    file = io.BytesIO()
    document = SimpleDocTemplate(
        file,
        pagesize=size,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN + 16,
        bottomMargin=_MARGIN,
        title=shown(title),
        author="Strongroom",
        subject=heading.run_id,
        lang="en",
        invariant=1,
    )
    width = size[0] - 2 * _MARGIN
    story = _head(heading, width)
    for section in sections:
        story += _section(section, width)
    if columns and rows:
        story += _section(Section("Rows", head=columns, rows=rows), width)

    def frame(canvas: Any, document: Any) -> None:
        canvas.saveState()
        canvas.setFont("Helvetica", 8)
        canvas.setFillColor(_GREY)
        top = size[1] - _MARGIN + 2
        canvas.drawString(_MARGIN, top, shown(title))
        canvas.drawRightString(size[0] - _MARGIN, top, shown(heading.run_id))
        canvas.drawRightString(size[0] - _MARGIN, _MARGIN - 16, f"Page {document.page}")
        canvas.restoreState()

    document.build(story, onFirstPage=frame, onLaterPages=frame)
    return file.getvalue()


def _head(heading: Heading, width: float) -> "list[Flowable]":
    from reportlab.platypus import Spacer

    definition = heading.definition
    facts: list[tuple[str, str]] = [("Run", heading.run_id), ("Made", heading.made_at)]
    if heading.period:
        facts.append(("Period", heading.period))
    facts += [("Purpose", definition.purpose), ("Owner", definition.owner)]
    facts += [(name, _parameter(value)) for name, value in sorted(heading.parameters.items())]
    return [
        _paragraph(definition.title, "Title"),
        _paragraph(definition.description, "Normal"),
        Spacer(0, 8),
        _table((), facts, width, weights=(1, 4)),
        Spacer(0, 12),
    ]


def _section(section: Section, width: float) -> "list[Flowable]":
    from reportlab.platypus import Spacer

    from reporting_jobs.outputs.pdf_charts import bar_chart

    flowables: list[Flowable] = [_paragraph(section.title, "Heading2")]
    flowables += [_paragraph(text, "Normal") for text in section.paragraphs]
    if section.chart is not None and section.chart.values:
        flowables += [Spacer(0, 6), bar_chart(section.chart, width)]
    if section.head or section.rows:
        flowables += [Spacer(0, 6), _table(section.head, section.rows, width)]
    flowables.append(Spacer(0, 10))
    return flowables


def _table(
    head: Sequence[str],
    rows: Sequence[Sequence[Cell]],
    width: float,
    weights: Sequence[int] | None = None,
) -> "Flowable":
    from reportlab.platypus import LongTable, TableStyle

    columns = len(head) or len(rows[0])
    parts = weights or (1,) * columns
    table = LongTable(
        [
            *([[_paragraph(cell, "Head") for cell in head]] if head else []),
            *([_paragraph(_told(cell), "Cell") for cell in row] for row in rows),
        ],
        colWidths=[width * part / sum(parts) for part in parts],
        repeatRows=1 if head else 0,
        hAlign="LEFT",
    )
    style: list[tuple[Any, ...]] = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, -1), 0.25, _GREY),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    if head:
        style.append(("BACKGROUND", (0, 0), (-1, 0), "#eef2f7"))
    table.setStyle(TableStyle(style))
    return table


def _paragraph(text: str, style: str) -> "Flowable":
    from reportlab.platypus import Paragraph

    # A text is never markup: what it holds may come from a value.
    return Paragraph(escape(shown(text)), _styles()[style])


@cache
def _styles() -> Any:
    from reportlab.lib.styles import ParagraphStyle, getSampleStyleSheet

    styles = getSampleStyleSheet()
    small = ParagraphStyle("Cell", parent=styles["Normal"], fontSize=8, leading=10)
    styles.add(small)
    styles.add(ParagraphStyle("Head", parent=small, fontName="Helvetica-Bold"))
    return styles


def _parameter(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"{len(value)} entries"
    return "" if value is None else str(value)


def _told(cell: Cell) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:,.2f}" if isinstance(cell, float) else cell
