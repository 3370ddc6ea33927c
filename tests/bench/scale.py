"""How cost grows with open streams on one process: memory, CPU, latency."""

import time
from collections.abc import Iterator, Sequence

from .contestants import Contestant
from .load import Load, LoadError
from .measures import events_of, percentiles
from .server import Server, ServerError

STEPS = (10, 100, 500, 1_000, 2_000, 3_500, 5_000)
QUICK_STEPS = (10, 500, 2_000)
OVERLOADED = 0.7  # share of the due events below which more streams tell nothing more
HEAD = [
    "contestant",
    "server",
    "streams",
    "RSS, MiB",
    "a stream, KiB",
    "CPU, % of a core",
    "CPU, µs/event",
    "events a second, of those due",
    "yield to client p50, ms",
    "p99, ms",
]


def measure(
    entrants: Sequence[tuple[Contestant, str]], *, core: int, rate: float, quick: bool
) -> list[list[str]]:
    """Grow one server per entrant step by step; return the table, head first.

    Args:
        entrants: Contestants with the name of their server.
        core: The core that serves.
        rate: Chunks a second that each stream yields.
        quick: Take fewer and shorter steps.
    """
    lines = [HEAD]
    for contestant, server in entrants:
        try:
            for cells in growth(contestant, server, core=core, rate=rate, quick=quick):
                print(f"  {contestant.name} on {server}: {', '.join(cells)}", flush=True)
                lines.append([contestant.label, server, *cells])
        except (LoadError, ServerError, OSError) as error:
            print(f"  {contestant.name} on {server} ends here: {error}", flush=True)
    return lines


def growth(
    contestant: Contestant, kind: str, *, core: int, rate: float, quick: bool
) -> Iterator[list[str]]:
    """Open ever more streams on one server; yield a line at each step until it is overloaded."""
    seconds = 1.5 if quick else 3.0
    interval = str(1 / rate)
    with (
        Server(contestant, kind, core=core, BENCH_INTERVAL=interval) as server,
        Load() as load,
    ):
        empty, streams = server.rss(), 0
        for number in QUICK_STEPS if quick else STEPS:
            load.open(server.port, "/paced", number - streams)
            streams = number
            load.pump(2 / rate)
            cells, share = step(server, load, streams, seconds=seconds, rate=rate, empty=empty)
            yield cells
            if share < OVERLOADED:
                return


def step(
    server: Server, load: Load, streams: int, *, seconds: float, rate: float, empty: int
) -> tuple[list[str], float]:
    """Measure with `streams` open; return the line, and the share of the due events that came."""
    events, before, started = events_of(load.readers.values()), server.cpu(), time.monotonic()
    delays = load.pump_stamped(seconds)
    used, wall = server.cpu() - before, time.monotonic() - started
    arrived, memory = events_of(load.readers.values()) - events, server.rss()
    delay, share = percentiles(delays), arrived / wall / (streams * rate)
    cells = [
        f"{streams:,}",
        f"{memory / 2**20:.0f}",
        f"{(memory - empty) / streams / 1024:.1f}",
        f"{used / wall * 100:.0f}",
        f"{used / arrived * 1e6:.1f}" if arrived else "",
        f"{arrived / wall:,.0f} ({share:.0%})",
        f"{delay['p50']:.2f}" if delay else "",
        f"{delay['p99']:.2f}" if delay else "",
    ]
    return cells, share
