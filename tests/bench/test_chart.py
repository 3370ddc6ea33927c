"""The chart of the costs shows what the table of the performance page says."""

import re
from xml.etree import ElementTree as ET

import pytest

from tests.bench import chart

SVG = "{http://www.w3.org/2000/svg}"


def test_the_chart_in_the_docs_is_drawn_from_the_table() -> None:
    drawn = chart.drawing(chart.panels())
    assert chart.CHART.read_text() == drawn, "run: python -m tests.bench.chart"


def test_a_bar_is_as_long_as_its_ratio() -> None:
    panel = chart.Panel("CPU", {"sse_asgi": 0.5, "FastAPI SSE": 2.0})
    root = ET.fromstring(chart.drawing([panel]))
    ours, other = (bar for bar in root.iter(f"{SVG}rect") if bar.get("class") != "page")
    assert [bar.get("class") for bar in (ours, other)] == ["ours", "other"]
    assert int(other.get("width") or 0) == 4 * int(ours.get("width") or 0)
    raw = root.find(f"{SVG}line")
    assert raw is not None
    assert int(raw.get("x1") or 0) == chart.LEFT + 2 * int(ours.get("width") or 0)


def test_every_contestant_is_in_every_panel() -> None:
    text = chart.CHART.read_text()
    for name in chart.CONTESTANTS:
        assert len(re.findall(f">{chart.label_of(name)}<", text)) == len(chart.PANELS)


def test_a_cell_without_a_ratio_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"'4\.26' has no ratio"):
        chart.ratio_in("4.26")
