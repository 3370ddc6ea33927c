"""What open streams get when their server stops: the peers' and ours, side by side.

`python -m tests.compare_shutdown` runs them all and writes the table into
docs/explanation/shutdown.md.
"""

import itertools
import signal
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from tests.servers import ROOT, UVICORN, launch
from tests.test_shutdown_servers import GRANIAN, HYPERCORN, Scenario, exit_time

PAGE = ROOT / "docs" / "explanation" / "shutdown.md"
BEGINS, ENDS = "<!-- from tests/compare_shutdown.py -->\n", "<!-- to here -->\n"
PATIENCE = 5.0  # seconds
STILL_RUNS = f"still runs after {PATIENCE:.0f} s"
LIBRARIES = {
    "own": "sse_asgi",
    "sse-starlette": "sse-starlette",
    "sse-starlette-graceful": "sse-starlette, `shutdown_event` and `shutdown_grace_period`",
    "fastapi": "FastAPI `EventSourceResponse`",
}
H11 = UVICORN + " --http h11 --loop asyncio"
SERVERS = {
    "uvicorn": Scenario("uvicorn", "uvicorn", H11),
    "uvicorn, a limit of 2 s": Scenario(
        "uvicorn", "uvicorn", H11 + " --timeout-graceful-shutdown 2"
    ),
    "hypercorn": Scenario("hypercorn", "hypercorn", HYPERCORN + " -k asyncio"),
    "granian": Scenario("granian", "granian", GRANIAN + " --http 1"),
    "daphne": Scenario("daphne", "daphne", "{app} -b 127.0.0.1 -p {port}"),
}


@dataclass(frozen=True)
class Course:
    """What came of one endless stream."""

    client: str  # what it got
    generator: str  # whether the awaits of its `finally` ran
    exit: float | None  # seconds

    def row(self, server: str, library: str) -> str:
        seconds = f"{self.exit:.1f} s" if self.exit is not None else STILL_RUNS
        return f"| {server} | {LIBRARIES[library]} | {self.client} | {self.generator} | {seconds} |"


def watch(server: str, library: str) -> Course:
    """Open one endless stream, tell the server to stop, and see."""
    scenario = SERVERS[server]
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        running = launch(
            scenario.command,
            directory=directory,
            environment={"SSE_TEST_GO": str(directory / "go"), "SSE_TEST_PEERS": "1"},
        )
        try:
            with running.open(f"/{library}/endless?run=it") as client:
                running.report.wait("it", "started")
                client.read_until(b"first ")
                begun = time.monotonic()
                running.signal(signal.SIGTERM)
                client.read_for(PATIENCE)
                seconds = exit_time(running, begun, within=PATIENCE)
                cleaned = bool(running.report.notes("it", "cleaned"))
                return Course(got(client), "ran" if cleaned else "lost", seconds)
        finally:
            running.stop()


def got(client) -> str:
    """Return in words what a client got."""
    farewell = "the farewell, " if b"farewell" in client.body else ""
    if not client.ended:
        return farewell + "no end"
    return farewell + ("cut off" if client.truncated else "a clean end")


def watch_all(servers=tuple(SERVERS)) -> dict[tuple[str, str], Course]:
    """Watch all libraries on these servers, some at a time."""
    pairs = list(itertools.product(servers, LIBRARIES))
    with ThreadPoolExecutor(4) as executor:
        return dict(zip(pairs, executor.map(lambda pair: watch(*pair), pairs), strict=True))


def table(courses: dict[tuple[str, str], Course]) -> str:
    versions = {"sse-starlette": "sse-starlette", "FastAPI": "fastapi"} | {
        name: name for name in ("uvicorn", "hypercorn", "granian", "daphne")
    }
    lines = [
        ", ".join(f"{name} {version(package)}" for name, package in versions.items()) + ".",
        "",
        "| Server | Library | The client gets | Awaits in `finally` | The process exits after |",
        "| --- | --- | --- | --- | --- |",
        *(course.row(*pair) for pair, course in courses.items()),
    ]
    return "\n".join(lines) + "\n"


def write() -> None:
    before, _, rest = PAGE.read_text().partition(BEGINS)
    _, _, after = rest.partition(ENDS)
    PAGE.write_text(before + BEGINS + table(watch_all()) + ENDS + after)


if __name__ == "__main__":
    write()
