"""Draw docs/explanation/cost.svg from the first table of docs/explanation/performance.md.

Run `python -m tests.bench.chart` when the figures of that table have changed.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from html import escape

from tests.documents import DOCS, tables_in

PAGE = DOCS / "explanation" / "performance.md"
CHART = DOCS / "explanation" / "cost.svg"

CONTESTANTS = (
    "sse_asgi",
    "Starlette StreamingResponse",
    "sse-starlette",
    "FastAPI SSE",
    "Litestar SSE",
)
PANELS = (
    (2, "500 chunks ready at once: CPU time of a chunk"),
    (3, "200 streams, each a chunk every 20 ms: CPU time of a chunk"),
    (4, "A stream that waits: memory"),
)
"""The column of each panel in the table, and its heading."""

NOTE = "Shorter is better. The dashed line is the raw loop: one send for each chunk."
LEFT = 160
WIDTH = 520
UNIT = 36  # pixels of the raw loop's cost
ROW = 24
HEAD = 34
TOP = 62

STYLE = """
    text { font: 14px system-ui, sans-serif; fill: #1c2733; }
    .head { font-weight: 600; }
    .name { text-anchor: end; }
    .note { font-size: 13px; fill: #4a5a6a; }
    .page { fill: #ffffff; }
    .other { fill: #b9c4cf; }
    .ours { fill: #2f6fb5; }
    .raw { stroke: #c2410c; stroke-width: 1.5; stroke-dasharray: 4 3; }
    @media (prefers-color-scheme: dark) {
      text { fill: #e8edf2; }
      .note { fill: #aab8c5; }
      .page { fill: #171c22; }
      .other { fill: #55626f; }
      .ours { fill: #6aa9ec; }
      .raw { stroke: #fb923c; }
    }
  """


@dataclass(frozen=True)
class Panel:
    """One measure: its heading, and each contestant's cost relative to the raw loop."""

    heading: str
    ratios: dict[str, float]


def panels() -> list[Panel]:
    """Return what the page's first table says, as ratios to the raw loop."""
    rows = {row[0]: row for row in tables_in(PAGE)[0]}
    return [
        Panel(heading, {name: ratio_in(rows[name][column]) for name in CONTESTANTS})
        for column, heading in PANELS
    ]


def ratio_in(cell: str) -> float:
    """Return the figure in brackets."""
    found = re.search(r"\(([\d.]+)\)", cell)
    if found is None:
        raise ValueError(f"{cell!r} has no ratio in brackets")
    return float(found[1])


def label_of(name: str) -> str:
    """Return a contestant's name, short enough for a telephone."""
    return name.removeprefix("Starlette ")


def drawing(drawn: Iterable[Panel]) -> str:
    """Return the chart as SVG: bars on one scale, for light and dark pages."""
    panels = list(drawn)
    height = TOP + len(panels) * (HEAD + ROW * len(CONTESTANTS)) + 12
    title = "Cost relative to a bare loop of one send for each chunk, on uvicorn; shorter is better"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"  <title>{title}</title>",
        f"  <style>{STYLE}</style>",
        f'  <rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        '  <text class="head" x="14" y="28">Cost relative to the raw loop, on uvicorn</text>',
        f'  <text class="note" x="14" y="48">{NOTE}</text>',
    ]
    for number, panel in enumerate(panels):
        lines += bars(panel, TOP + number * (HEAD + ROW * len(CONTESTANTS)))
    return "\n".join([*lines, "</svg>", ""])


def bars(panel: Panel, top: int) -> Iterator[str]:
    """Give the lines of one panel."""
    yield f'  <text class="head" x="14" y="{top + 22}">{escape(panel.heading)}</text>'
    for number, (name, ratio) in enumerate(panel.ratios.items()):
        y = top + HEAD + number * ROW
        width = round(ratio * UNIT)
        kind = "ours" if name == CONTESTANTS[0] else "other"
        yield f'  <text class="name" x="{LEFT - 10}" y="{y + 13}">{escape(label_of(name))}</text>'
        yield f'  <rect class="{kind}" x="{LEFT}" y="{y}" width="{width}" height="17" rx="2"/>'
        label = max(width, UNIT if ratio < 1 else 0) + LEFT + 8
        yield f'  <text x="{label}" y="{y + 13}">{ratio:.2f}</text>'
    raw, first = LEFT + UNIT, top + HEAD
    bottom = first + ROW * len(panel.ratios) - 7
    yield f'  <line class="raw" x1="{raw}" y1="{first}" x2="{raw}" y2="{bottom}"/>'


if __name__ == "__main__":
    CHART.write_text(drawing(panels()))
