"""What came out: medians and ratios to the raw loop, as a table, Markdown, JSON or a chart."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from .measures import MEASURES, Figure

NOISY = 0.15  # a spread between quartiles, relative to the median, worth a mark
FIGURES = tuple(figure for measure in MEASURES for figure in measure.figures)
OURS = ("sse_asgi", "middleware")
PLOTTED = ("burst", "paced", "idle", "opening")


@dataclass(slots=True)
class Row:
    """All runs of one contestant on one server: of each figure a number per round that gave it."""

    name: str
    label: str
    server: str
    runs: dict[str, dict[int, float]] = field(default_factory=dict)
    ratios: dict[str, dict[int, float]] = field(default_factory=dict)

    def add(self, number: int, figures: dict[str, float], ratios: dict[str, float]) -> None:
        """Take in what round `number` gave."""
        for key, value in figures.items():
            self.runs.setdefault(key, {})[number] = value
        for key, value in ratios.items():
            self.ratios.setdefault(key, {})[number] = value

    def of(self, key: str) -> list[float]:
        return list(self.runs.get(key, {}).values())

    def median(self, key: str) -> float | None:
        return statistics.median(self.of(key)) if self.of(key) else None

    def ratio(self, key: str, raw: "Row | None") -> float | None:
        """Return the median of the ratios to the raw loop, each taken within a round."""
        if raw is None or raw is self:
            return None
        mine, theirs = self.runs.get(key, {}), raw.runs.get(key, {})
        ratios = self.ratios.get(key) or {
            number: mine[number] / theirs[number] for number in mine if theirs.get(number)
        }
        return statistics.median(ratios.values()) if ratios else None

    def noisy(self, key: str) -> bool:
        """Tell whether the rounds' ratios, or else figures, lie far apart."""
        runs = list(self.ratios.get(key, {}).values()) or self.of(key)
        if len(runs) < 3 or not all(map(math.isfinite, runs)):
            return False
        low, middle, high = statistics.quantiles(runs, n=4)
        return middle > 0 and (high - low) / middle > NOISY


def raw_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """Return the raw loop on the same server; for Node that on the first server."""
    raws = [other for other in rows if other.name == "raw"]
    same = [other for other in raws if other.server == row.server]
    if same or row.server != "node":
        return same[0] if same else None
    return raws[0] if raws else None


def cell(row: Row, figure: Figure, rows: Sequence[Row]) -> str:
    value = row.median(figure.key)
    if value is None:
        return ""
    if math.isinf(value):
        return "never"
    text = f"{value:.{figure.digits}f}" + ("~" if row.noisy(figure.key) else "")
    ratio = row.ratio(figure.key, raw_of(row, rows)) if figure.ratio else None
    return f"{text} ({ratio:.2f})" if ratio is not None else text


def table(rows: Sequence[Row]) -> list[list[str]]:
    """Return the head and one line per row; figures that nobody has are left out."""
    shown = [figure for figure in FIGURES if any(figure.key in row.runs for row in rows)]
    head = ["", "server", *(f"{figure.title}, {figure.unit}" for figure in shown)]
    lines = [[row.label, row.server, *(cell(row, each, rows) for each in shown)] for row in rows]
    return [head, *lines]


def as_text(lines: Sequence[Sequence[str]]) -> str:
    """Align columns for a terminal; long heads are broken at their comma."""
    head = [title.split(", ") for title in lines[0]]
    broken = [[part[0] for part in head], [", ".join(part[1:]) for part in head]]
    cells = [*broken, *lines[1:]]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(align(line, widths) for line in cells)


def align(line: Sequence[str], widths: Sequence[int]) -> str:
    first = line[0].ljust(widths[0])
    rest = (text.rjust(width) for text, width in zip(line[1:], widths[1:], strict=True))
    return "  ".join([first, *rest]).rstrip()


def as_markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *body = lines
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, rule, *body]) + "\n"


def as_json(rows: Sequence[Row]) -> list[dict[str, object]]:
    return [
        {
            "name": row.name,
            "server": row.server,
            "figures": {
                figure.key: {
                    "unit": figure.unit,
                    "median": finite(row.median(figure.key)),
                    "ratio": row.ratio(figure.key, raw_of(row, rows)) if figure.ratio else None,
                    "runs": [finite(run) for run in row.of(figure.key)],
                }
                for figure in FIGURES
                if figure.key in row.runs
            },
        }
        for row in rows
    ]


def finite(value: float | None) -> float | None:
    """Return None for "never": JSON knows no infinity."""
    return value if value is not None and math.isfinite(value) else None


def plot(rows: Sequence[Row], path: str) -> None:
    """Draw the ratios to the raw loop, one panel per figure, and write them to `path`."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    shown = [figure for figure in FIGURES if figure.key in PLOTTED]
    height = 1.2 + 0.3 * len(rows)
    chart, panels = plt.subplots(1, len(shown), figsize=(14, height), sharey=True)
    for panel, figure in zip(panels, shown, strict=True):
        draw(panel, figure, rows)
    panels[0].invert_yaxis()
    chart.supxlabel("cost relative to the raw loop on the same server; less is better")
    chart.tight_layout()
    chart.savefig(path, dpi=150)
    plt.close(chart)


def draw(panel, figure: Figure, rows: Sequence[Row]) -> None:
    names = [f"{row.label} · {row.server}" for row in rows]
    ratios = [
        1.0 if row.name == "raw" else row.ratio(figure.key, raw_of(row, rows)) for row in rows
    ]
    colours = ["tab:blue" if row.name in OURS else "silver" for row in rows]
    panel.barh(names, [ratio or 0.0 for ratio in ratios], color=colours)
    labels = ["" if ratio is None else f"{ratio:.2f}" for ratio in ratios]
    panel.bar_label(panel.containers[0], labels, padding=2, fontsize=8)
    panel.axvline(1.0, color="black", linewidth=0.8)
    panel.margins(x=0.18)
    panel.set_title(figure.title, fontsize=10)
