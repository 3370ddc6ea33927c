"""What dialects cost: `python -m tests.bench.dialects` gives the CPU time of a chunk in each.

It serves in this process, on a stub server without sockets, so what it compares is the library's
own work. Beside the framings stands an endpoint as templates write it by hand: FastAPI, and a
pydantic model for each chunk. Each figure is the least of many short runs, which take turns: noise
only adds time.

- paced: one chunk of 50 open streams, each chunk waited for
- burst: one chunk of a stream whose 500 chunks are ready at once
- added: what a chunk costs more than in an app that reads the source and sends nothing

    python -m tests.bench.dialects              # half a minute
    python -m tests.bench.dialects --runs 5     # quicker, and less exact
    python -m tests.bench.dialects --json       # for other programs
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass

from sse_asgi import EventStream, Framing, JSONFraming, TextFraming
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages

from .apps.raw import END, START
from .contestants import importable
from .report import as_text
from .stub import BURST_CHUNKS, PACED_CHUNKS, App, Source, burst, cpu_seconds, paced

RUNS = 25
RUNS_OF_CHECK = 15
NOTHING = "nothing sent"
JSON = "JSONFraming"
CHAT = "ChatCompletions"
BY_HAND = "FastAPI with pydantic, chat completions"
FRAMINGS: dict[str, Framing] = {
    "TextFraming": TextFraming(),
    JSON: JSONFraming(),
    CHAT: ChatCompletions("bench"),
    "Responses": Responses("bench"),
    "AnthropicMessages": AnthropicMessages("bench"),
    "UIMessages": UIMessages(),
    "AGUI": AGUI(thread_id="thread", run_id="run"),
}
AppOf = Callable[[Source], App]


@dataclass(frozen=True, slots=True)
class Load:
    """What is streamed: `streams` of `source`, all at once or one after the other."""

    source: Source
    chunks: int
    streams: int
    together: bool


PACED = Load(paced, PACED_CHUNKS, streams=50, together=True)
BURST = Load(burst, BURST_CHUNKS, streams=10, together=False)


@dataclass(frozen=True, slots=True)
class Result:
    """Microseconds of CPU a chunk; `added` is to an app that sends nothing."""

    name: str
    paced: float
    paced_added: float
    paced_to_json: float
    burst: float
    burst_added: float


def nothing(source: Source) -> App:
    """Read the source, then send an answer without a body."""

    async def app(scope, receive, send):
        async for _ in source():
            pass
        await send(START)
        await send(END)

    return app


def framed(framing: Framing) -> AppOf:
    return lambda source: EventStream(lambda request: source(), framing=framing)


def contestants() -> dict[str, AppOf]:
    """Return every contestant that is installed, by name."""
    known = {NOTHING: nothing, **{name: framed(each) for name, each in FRAMINGS.items()}}
    if importable("fastapi"):
        from .apps import fastapi_chat

        known[BY_HAND] = fastapi_chat.app_of
    return known


def least(load: Load, rivals: dict[str, AppOf], *, runs: int) -> dict[str, float]:
    """Return the microseconds of a chunk, each the least of runs that take turns."""
    apps = {name: app_of(load.source) for name, app_of in rivals.items()}
    found: dict[str, list[float]] = {name: [] for name in apps}
    with closing(asyncio.new_event_loop()) as loop:
        for _ in range(runs):
            for name, app in apps.items():
                served = cpu_seconds(app, load.streams, together=load.together)
                found[name].append(loop.run_until_complete(served))
    per_chunk = 1e6 / load.streams / load.chunks
    return {name: min(seconds) * per_chunk for name, seconds in found.items()}


def paced_ratio() -> float:
    """Return what a paced chunk through `ChatCompletions` costs, to one through `JSONFraming`."""
    rivals = {name: framed(FRAMINGS[name]) for name in (CHAT, JSON)}
    costs = least(PACED, rivals, runs=RUNS_OF_CHECK)
    return costs[CHAT] / costs[JSON]


def burst_added() -> float:
    """Return the microseconds that `ChatCompletions` adds to each chunk of a burst."""
    rivals = {CHAT: framed(FRAMINGS[CHAT]), NOTHING: nothing}
    costs = least(BURST, rivals, runs=RUNS_OF_CHECK)
    return costs[CHAT] - costs[NOTHING]


def results(paced_costs: dict[str, float], burst_costs: dict[str, float]) -> list[Result]:
    return [
        Result(
            name=name,
            paced=cost,
            paced_added=cost - paced_costs[NOTHING],
            paced_to_json=cost / paced_costs[JSON],
            burst=burst_costs[name],
            burst_added=burst_costs[name] - burst_costs[NOTHING],
        )
        for name, cost in paced_costs.items()
    ]


def table(lines: Sequence[Result]) -> list[list[str]]:
    """Return the table, head first."""
    head = ["", "paced, µs", "added, µs", "paced, to JSONFraming", "burst, µs", "added, µs"]
    return [head, *map(cells, lines)]


def cells(each: Result) -> list[str]:
    return [
        each.name,
        f"{each.paced:.1f}",
        f"{each.paced_added:.1f}",
        f"{each.paced_to_json:.2f}",
        f"{each.burst:.2f}",
        f"{each.burst_added:.2f}",
    ]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.dialects", description="Measure what a chunk costs by dialect."
    )
    parser.add_argument("--runs", type=int, default=RUNS, help=f"of each; {RUNS} by default")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error(f"--runs must be at least 1, not {options.runs}")
    rivals = contestants()
    if BY_HAND not in rivals:
        print(f"skipped {BY_HAND}: fastapi is not installed", file=sys.stderr)
    found = results(*(least(load, rivals, runs=options.runs) for load in (PACED, BURST)))
    print(json.dumps([asdict(each) for each in found]) if options.json else as_text(table(found)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
