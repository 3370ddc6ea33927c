"""A picture of when events came."""

from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

from sse_asgi.cli.errors import CommandError


def check_plot(path: Path) -> None:
    """Check, before anything is received, that a plot can be drawn.

    Raises:
        CommandError: If it cannot; the message says what is missing.
    """
    if find_spec("matplotlib") is None:
        raise CommandError("--plot needs matplotlib: pip install matplotlib")
    if not path.absolute().parent.is_dir():
        raise CommandError(f"--plot: {path.absolute().parent} is no directory")


def draw(path: Path, arrivals: Sequence[float], *, title: str) -> None:
    """Draw how many events had come at each moment, in seconds since the start.

    Raises:
        CommandError: If the file cannot be written.
    """
    # Optional, and untyped enough to be imported by name.
    figure = import_module("matplotlib.figure").Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    counts = range(1, len(arrivals) + 1)
    axes.step([0.0, *arrivals], [0, *counts], where="post", linewidth=1)
    axes.plot(arrivals, counts, ".", markersize=4)
    axes.set_xlabel("seconds since the request")
    axes.set_ylabel("events")
    axes.set_title(title, fontsize=10)
    axes.grid(visible=True, alpha=0.3)
    try:
        figure.savefig(path)
    except (OSError, ValueError) as error:  # an unknown ending is a ValueError
        raise CommandError(f"--plot: cannot write {path}: {error}", status=1) from error
