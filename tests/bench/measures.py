"""The measures: each starts a fresh server, puts one kind of load on it and reads its cost."""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from .contestants import Contestant
from .load import Load, Reader
from .server import Server
from .sources import BURST_CHUNKS

CONNECTIONS = 16  # that repeat short responses
WINDOWS = 8
WINDOW = 0.2  # seconds
STREAMS = 200  # paced
PACED_WINDOWS = 5
PACED_WINDOW = 0.8  # seconds
IDLE_WARM_UP = 100
IDLE_STREAMS = 1_500
LEAVERS = 20
NEVER = 1.0  # seconds after which a source counts as never cancelled
LOAD_LIMIT = 0.8  # share of its core above which the load may hold the server up


@dataclass(frozen=True, slots=True)
class Figure:
    """One column of the table. `ratio` says whether it is also given relative to the raw loop."""

    key: str
    title: str
    unit: str
    ratio: bool = True
    digits: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """What one run gave: numbers and ratios by figure, and the load's share of its core."""

    figures: dict[str, float]
    load: float
    ratios: dict[str, float] = field(default_factory=dict)


Serve = Callable[..., Server]
"""Starts a fresh server: of the contestant, or of the raw loop beside it."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A kind of load. `run` gets the contestant, and the raw loop (None if that is the same).

    CPU time is no constant: neighbours on the machine can double it for seconds. So contestant
    and raw loop are up at the same time and share each moment, in short windows that alternate;
    a ratio is the median of the windows' ratios.
    """

    name: str
    figures: tuple[Figure, ...]
    run: Callable[[Serve, Serve | None, bool], Run]


def burst(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    return repeated("burst", "/burst", BURST_CHUNKS, serve, raw, quick)


def opening(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    return repeated("opening", "/short", 1, serve, raw, quick)


@contextmanager
def side_by_side(serve: Serve, raw: Serve | None) -> Iterator[tuple[Load, list[Server]]]:
    """Start the contestant's server and, second, the raw loop's, with one load for both."""
    with ExitStack() as stack:
        load = stack.enter_context(Load())
        yield load, [stack.enter_context(each()) for each in (serve, raw) if each]


def repeated(key: str, path: str, chunks: int, serve: Serve, raw: Serve | None, quick: bool) -> Run:
    """Ask again and again on connections that are kept; give the microseconds of CPU a chunk."""
    with side_by_side(serve, raw) as (load, servers):
        readers = {
            server: [load.connect(server.port) for _ in range(CONNECTIONS)] for server in servers
        }

        def ask(server: Server, seconds: float) -> int:
            return chunks * load.repeat(readers[server], path, seconds, events=chunks)

        return in_windows(key, servers, ask, load, quick=quick)


def connecting(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    """As `opening`, with a new connection for each stream."""
    with side_by_side(serve, raw) as (load, servers):

        def ask(server: Server, seconds: float) -> int:
            return load.repeat_anew(server.port, "/short", seconds, connections=CONNECTIONS)

        return in_windows("connecting", servers, ask, load, quick=quick)


def in_windows(
    key: str,
    servers: list[Server],
    ask: Callable[[Server, float], int],
    load: Load,
    *,
    quick: bool,
) -> Run:
    """Let servers take turns; `ask` loads one for some seconds and returns its chunks."""
    costs: dict[Server, list[float]] = {server: [] for server in servers}
    for server in servers:
        ask(server, WINDOW)
    for _ in range(3 if quick else WINDOWS):
        for server in servers:
            before = server.cpu()
            chunks = ask(server, WINDOW)
            costs[server].append((server.cpu() - before) / chunks * 1e6)
    return compared(key, list(costs.values()), load)


def compared(key: str, costs: list[list[float]], load: Load) -> Run:
    """Return the contestant's median cost, and its ratio to the raw loop's if that is there."""
    mine = costs[0]
    ratios = {}
    if len(costs) > 1:
        ratios[key] = statistics.median(a / b for a, b in zip(mine, costs[1], strict=True))
    return Run({key: statistics.median(mine)}, load.busy(), ratios)


def paced(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    with side_by_side(serve, raw) as (load, servers):
        streams = {server: load.open(server.port, "/paced", STREAMS) for server in servers}
        costs: dict[Server, list[float]] = {server: [] for server in servers}
        load.pump(0.5)
        for _ in range(3 if quick else PACED_WINDOWS):
            before = {server: (server.cpu(), events_of(streams[server])) for server in servers}
            load.pump(PACED_WINDOW)
            for server, (cpu, events) in before.items():
                came = events_of(streams[server]) - events
                costs[server].append((server.cpu() - cpu) / came * 1e6)
        return compared("paced", list(costs.values()), load)


def events_of(readers: Iterable[Reader]) -> int:
    return sum(reader.events for reader in readers)


def latency(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    """From `yield` to bytes at the client, alone on the core."""
    with serve() as server, Load() as load:
        load.open(server.port, "/paced", STREAMS)
        load.pump(0.5)
        return Run(percentiles(load.pump_stamped(1.0 if quick else 2.0)), load.busy())


def percentiles(delays: list[int]) -> dict[str, float]:
    """Return the median and the 99th percentile of nanoseconds, in milliseconds."""
    if len(delays) < 200:
        return {}
    cuts = statistics.quantiles(delays, n=100)
    return {"p50": cuts[49] / 1e6, "p99": cuts[98] / 1e6}


def idle(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    """What each further open stream adds, once the first ones have warmed the server."""
    streams = 500 if quick else IDLE_STREAMS
    with serve() as server, Load() as load:
        load.open(server.port, "/idle", IDLE_WARM_UP)
        before = server.rss()
        load.open(server.port, "/idle", streams)
        load.pump(0.3)
        return Run({"idle": (server.rss() - before) / streams / 1024}, load.busy())


def disconnect(serve: Serve, raw: Serve | None, quick: bool) -> Run:
    """How long after a client's leaving its source is ended, in milliseconds."""
    with tempfile.TemporaryDirectory() as folder:
        endings = Path(folder) / "endings"
        endings.touch()
        with serve(BENCH_ENDINGS=str(endings)) as server, Load() as load:
            readers = load.open(server.port, "/idle", 5 if quick else LEAVERS)
            load.pump(0.2)
            delays = [leave(load, reader, endings) for reader in readers[:1]]
            if delays[0] < NEVER * 1e9:
                delays += [leave(load, reader, endings) for reader in readers[1:]]
            return Run({"disconnect": statistics.median(delays) / 1e6}, load.busy())


def leave(load: Load, reader: Reader, endings: Path) -> float:
    """Close one connection; return the ns until its source ended, or infinity."""
    known = endings.stat().st_size
    left = time.monotonic_ns()
    load.close(reader)
    while not endings.read_bytes()[known:].endswith(b"\n"):
        if time.monotonic_ns() - left > NEVER * 1e9:
            return float("inf")
        time.sleep(0.0005)
    return int(endings.read_bytes()[known:].split()[0]) - left


MEASURES = (
    Measure("burst", (Figure("burst", "burst", "µs/event", digits=2),), burst),
    Measure("paced", (Figure("paced", "paced", "µs/event"),), paced),
    Measure("idle", (Figure("idle", "idle stream", "KiB"),), idle),
    Measure("opening", (Figure("opening", "opening", "µs", digits=0),), opening),
    Measure(
        "connecting", (Figure("connecting", "opening, new connection", "µs", digits=0),), connecting
    ),
    Measure(
        "latency",
        (
            Figure("p50", "yield to client p50", "ms", ratio=False, digits=2),
            Figure("p99", "p99", "ms", ratio=False, digits=2),
        ),
        latency,
    ),
    Measure(
        "disconnect",
        (Figure("disconnect", "leaving to end of source", "ms", ratio=False, digits=2),),
        disconnect,
    ),
)


def run(
    measure: Measure,
    contestant: Contestant,
    server: str,
    *,
    raw: tuple[Contestant, str] | None,
    core: int,
    quick: bool,
) -> Run:
    """Run `measure` once, against fresh servers of `contestant` and `raw` on `core`."""
    serve = partial(Server, contestant, server, core=core)
    beside = partial(Server, *raw, core=core) if raw else None
    return measure.run(serve, beside, quick)
