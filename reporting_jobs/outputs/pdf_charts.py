"""Bar charts in a PDF, drawn as lines and text: no picture, no font of their own."""

from typing import TYPE_CHECKING, Final

from reporting_jobs.context import Chart
from reporting_jobs.outputs.pdf_text import shown

if TYPE_CHECKING:
    from reportlab.graphics.shapes import Drawing

_BAR: Final = 16  # points a bar and its gap
_LABELS: Final = 150  # points for the labels at the left
_FIGURES: Final = 60  # points for the figures at the right
_LONGEST_LABEL: Final = 30  # characters
_COLOUR: Final = "#2563a8"


def bar_chart(chart: Chart, width: float) -> "Drawing":
    """Horizontal bars from zero, in the order given, each with its label and figure.
    ``ValueError`` where labels and values differ in number, or a value is negative."""
    from reportlab.graphics.shapes import Drawing, Line, Rect, String
    from reportlab.lib.colors import HexColor

    if len(chart.labels) != len(chart.values) or any(value < 0 for value in chart.values):
        raise ValueError("a bar chart has a label for each value, and no negative one")
    height = _BAR * len(chart.values) + 22
    drawing = Drawing(width, height)
    heading = f"{chart.title} ({chart.unit})" if chart.unit else chart.title
    drawing.add(String(0, height - 10, shown(heading), fontName="Helvetica-Bold", fontSize=9))
    room = width - _LABELS - _FIGURES
    longest = max(chart.values) or 1
    for place, (label, value) in enumerate(zip(chart.labels, chart.values, strict=True)):
        base = height - 22 - _BAR * (place + 1) + 4
        bar = room * value / longest
        text = shown(label if len(label) <= _LONGEST_LABEL else label[: _LONGEST_LABEL - 1] + "…")
        drawing.add(String(_LABELS - 6, base + 2, text, textAnchor="end", fontSize=8))
        rectangle = Rect(_LABELS, base, bar, _BAR - 6)
        rectangle.fillColor = HexColor(_COLOUR)
        rectangle.strokeWidth = 0
        drawing.add(rectangle)
        drawing.add(String(_LABELS + bar + 4, base + 2, f"{value:,g}", fontSize=8))
    drawing.add(Line(_LABELS, 0, _LABELS, height - 20, strokeWidth=0.5))
    return drawing
