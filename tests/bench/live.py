"""What live costs: `python -m tests.bench --live`. Each figure stands beside what it aims at."""

import json
import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from tests.live.redis_server import RedisServer

from .contestants import ROOT, importable
from .server import on_core

CASES = ("memory", "few", "here", "elsewhere", "saturated", "connections", "replay")


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `most` or `least` is the aim."""

    key: str
    title: str
    unit: str
    most: float | None = None
    least: float | None = None
    digits: int = 1

    def aim(self) -> str:
        if self.most is not None:
            return f"at most {self.most:,g}"
        return "" if self.least is None else f"at least {self.least:,g}"

    def is_met(self, value: float) -> bool:
        return (self.most is None or value <= self.most) and (
            self.least is None or value >= self.least
        )


def chunk(key: str, title: str, **aim: float) -> Figure:
    return Figure(key, title, "µs/chunk", **aim)


FIGURES = (
    chunk("memory_0", "MemoryLog, no viewer, over the bare source"),
    chunk("memory_1", "MemoryLog, 1 viewer, over the bare source", most=10),
    chunk("memory_3", "MemoryLog, 3 viewers, over the bare source"),
    chunk("few", "RedisLog, 50 generations with 20 chunks/s and a viewer each", most=60),
    Figure("few_p50", "yield to viewer, p50", "ms", most=1, digits=2),
    Figure("few_p99", "yield to viewer, p99", "ms", most=10, digits=2),
    chunk("floor", "bare sources alone: 500 generations with 20 chunks/s"),
    chunk("here", "RedisLog, these with a viewer each, over the bare source", most=60),
    Figure("here_rate", "chunks that were yielded", "chunks/s", least=9_500, digits=0),
    Figure("here_p50", "yield to viewer, p50", "ms", most=1, digits=2),
    Figure("here_p99", "yield to viewer, p99", "ms", most=10, digits=2),
    chunk("here_redis", "the Redis server"),
    chunk("elsewhere", "the same, viewers in another process: the producer"),
    chunk("follower", "the process with the viewers"),
    Figure("elsewhere_p50", "yield to viewer, p50", "ms", digits=2),
    Figure("elsewhere_p99", "yield to viewer, p99", "ms", digits=2),
    chunk("elsewhere_redis", "the Redis server"),
    Figure("append_rate", "as fast as can be: one process stores", "chunks/s", digits=0),
    chunk("append_redis", "the Redis server"),
    Figure("follow_rate", "as fast as can be: another process follows", "chunks/s", digits=0),
    chunk("follow_redis", "the Redis server, for 40,000 chunks/s of a core", most=25),
    Figure("connections", "Redis connections of a process, 1,000 viewers", "", most=12, digits=0),
    chunk("crowd", "each of 50 viewers of a generation"),
    Figure("replay_p99", "viewers beside 100 replays of 20 MB, p99", "ms", most=250, digits=0),
    Figure("replay_memory", "memory for these replays", "MB", most=100, digits=0),
    Figure("replay_rate", "replayed", "MB/s", digits=0),
)
HEAD = ["live", "measured", "unit", "aim"]


def missing() -> str | None:
    """Say what the cases lack on this machine."""
    if shutil.which("redis-server") is None:
        return "redis-server is not installed"
    return None if importable("redis") else "Python module redis is not installed"


def measure(*, core: int, load_core: int, rounds: int, quick: bool) -> list[list[str]]:
    """Run every case in fresh processes; return the table, head first.

    Args:
        core: The core of the process that produces.
        load_core: The core of the Redis server, and of another process that views.
        rounds: How often; the median counts.
        quick: Measure for a shorter time.
    """
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for case in CASES:
            print(f"round {number + 1} of {rounds}, {case}:", end=" ", flush=True)
            figures = run(case, core=core, load_core=load_core, seconds=1.5 if quick else 4.0)
            print(", ".join(f"{key} {value:.2f}" for key, value in figures.items()), flush=True)
            for key, value in figures.items():
                found.setdefault(key, []).append(value)
    return table({key: statistics.median(values) for key, values in found.items()})


def run(case: str, *, core: int, load_core: int, seconds: float) -> dict[str, float]:
    with ExitStack() as stack:
        with on_core(load_core):
            server = stack.enter_context(RedisServer(shutil.which("redis-server")))
        stack.enter_context(on_core(core))
        process = command(case, server.url, server.process.pid, load_core, seconds)
        done = subprocess.run(process, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def command(case: str, *where: object) -> list[str]:
    """Return the command that runs a case, at a stage with these attributes."""
    return [sys.executable, "-m", "tests.bench.live_cases", case, *map(str, where)]


def table(figures: dict[str, float]) -> list[list[str]]:
    lines = [line(each, figures[each.key]) for each in FIGURES if each.key in figures]
    return [HEAD, *lines]


def line(figure: Figure, value: float) -> Sequence[str]:
    aim = figure.aim()
    if aim and not figure.is_met(value):
        aim += " (missed)"
    return [figure.title, f"{value:,.{figure.digits}f}", figure.unit, aim]
