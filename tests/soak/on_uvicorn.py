"""Streams on a real uvicorn in a process of its own, which a signal stops at the end."""

import asyncio
import contextlib
import itertools
import json
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import uvloop

from tests.servers import Running, launch

from .clients import visit
from .ledger import Ledger
from .plan import plan_of
from .results import OVERDUE, Part, rounds_of
from .state import State

LAST_ROUND = 2.0  # seconds until the signal


def soak(*, seed: int, streams: int, seconds: float) -> Part:
    """Soak uvicorn, with uvloop and httptools."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        running = launch(
            command,
            directory=Path(folder),
            name="uvicorn",
            environment={"SOAK_SEED": str(seed), "SOAK_REPORT": str(report)},
            ready=lambda server: "state" in server.get("/state"),
        )
        try:
            runner = Soak(running, report, seed=seed, streams=streams)
            return uvloop.run(runner.run(seconds))
        finally:
            running.stop(by_force=True)


def command(port: int) -> list[str]:
    return [
        sys.executable, "-m", "uvicorn", "tests.soak.server:app", "--port", str(port),
        "--loop", "uvloop", "--http", "httptools", "--log-level", "critical", "--no-access-log",
        "--backlog", "8192",
    ]  # fmt: skip


class Soak:
    """Loads one server round by round, and stops it in the middle of the last."""

    def __init__(self, running: Running, report: Path, *, seed: int, streams: int) -> None:
        self.ledger = Ledger()  # of what clients saw
        self._running, self._report = running, report
        self._seed, self._streams = seed, streams
        self._numbers = itertools.count()
        self._stopped = False

    async def run(self, seconds: float) -> Part:
        """Soak for some seconds, and return what came of it."""
        states: list[State] = []
        for length in rounds_of(max(seconds - LAST_ROUND, 0)):
            await self._round(length, lambda: None)
            states.append(await self._settled(states))
        await self._round(LAST_ROUND, self._stop_server)
        told = await self._end_of_server()
        self.ledger.outcomes.update(told["outcomes"])
        self.ledger.problems += told["problems"]
        self.ledger.broken += told["broken"]
        return Part.of("uvicorn", self.ledger, states)

    async def _round(self, seconds: float, end: Callable[[], None]) -> None:
        """Keep streams open for a while; then call `end`, or let all clients leave."""
        everyone_leaves = asyncio.Event()
        until = time.monotonic() + seconds
        async with asyncio.TaskGroup() as group:
            for _ in range(self._streams):
                group.create_task(self._one_after_another(until, everyone_leaves))
            await asyncio.sleep(seconds)
            end()
            if not self._stopped:
                everyone_leaves.set()

    async def _one_after_another(self, until: float, everyone_leaves: asyncio.Event) -> None:
        while time.monotonic() < until:
            plan = plan_of(self._seed, next(self._numbers), sockets=True)
            try:
                await visit(plan, self._running.port, self.ledger, everyone_leaves)
            except OSError as error:
                if not self._stopped:
                    self.ledger.problem(f"no connection: {error!r}", plan)
                return

    def _stop_server(self) -> None:
        self._stopped = True
        self._running.signal(signal.SIGTERM)

    async def _settled(self, states: list[State]) -> State:
        """Return the server's state once it is the first one's, or what it is after a while."""
        deadline = time.monotonic() + OVERDUE
        while True:
            told = await asyncio.to_thread(self._running.get, "/state", within=OVERDUE)
            state = State(**told["state"])
            quiet = not told["open"] and not (states and state.growth(states[0]))
            if quiet or time.monotonic() > deadline:
                break
            await asyncio.sleep(0.1)
        if told["open"]:
            self.ledger.problem(f"{told['open']} streams stay open after their clients have left")
        return state

    async def _end_of_server(self) -> dict:
        """Wait for the server's orderly end, and return its report."""
        with contextlib.suppress(Exception):
            await asyncio.to_thread(self._running.process.wait, OVERDUE)
        if self._report.exists():
            return json.loads(self._report.read_text())
        code = self._running.process.poll()
        self.ledger.problem(f"uvicorn did not end in order: {code}, {self._running.log[-2000:]}")
        return {"outcomes": {}, "problems": [], "broken": 0}
