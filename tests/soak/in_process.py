"""Streams in this process, on a server and clients without sockets, under any event loop."""

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable

import anyio
import sniffio

from sse_asgi import ServerSentEvent, Shutdown

from .apps import app_of
from .ledger import Entry, Ledger, PlannedError, noise_is_a_problem
from .plan import plan_of
from .reader import Reader
from .results import OVERDUE, Part, rounds_of
from .state import State

SEND_TIMEOUT = 0.4  # for clients that never read; others may be slow because the machine is
TAKES_AT_MOST = 3  # messages, from a server whose client does not read
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "headers": [(b"host", b"soak")],
}


class Connection:
    """A server's side of one request, whose client does what its plan says."""

    def __init__(self, entry: Entry, ledger: Ledger) -> None:
        self.entry, self.plan, self._ledger = entry, entry.plan, ledger
        self.gone = anyio.Event()
        self.ended = False  # the app
        self._closed = False  # the body
        self._asked = self._sending = False
        self._body = bytearray()
        self._messages = 0

    async def receive(self) -> dict[str, object]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, object]) -> None:
        self._check(message)
        self._messages += 1
        self._sending = True
        try:
            await self._take()
            self._body += message.get("body", b"")
            self._closed = message["type"].endswith("body") and not message.get("more_body")
        finally:
            self._sending = False

    async def _take(self) -> None:
        await anyio.sleep(0)
        if self._messages <= TAKES_AT_MOST or self.gone.is_set():
            return
        if self.plan.client == "breaks":
            raise PlannedError("in the server's send")
        if self.plan.client == "never reads":
            await self.gone.wait()

    def _check(self, message: dict[str, object]) -> None:
        if self._sending:
            self._ledger.problem("a message was sent beside another", self.plan)
        if (message["type"] == "http.response.start") != (self._messages == 0):
            self._ledger.problem(f"{message['type']} as message {self._messages}", self.plan)
        if self._closed or self.ended:
            self._ledger.problem("a message was sent after the end", self.plan)

    def check_text(self) -> None:
        reader = Reader(self.plan)
        reader.feed(bytes(self._body))
        if wrong := reader.wrong(produced=self.entry.produced):
            self._ledger.problem(wrong, self.plan)


class Soak:
    """Runs rounds of streams; each ends with a shutdown of the streams that are open."""

    def __init__(self, *, seed: int, streams: int) -> None:
        self.ledger = Ledger()
        self._seed, self._streams = seed, streams
        self._numbers = itertools.count()

    async def run(self, seconds: float, name: str) -> Part:
        """Soak for some seconds, and return what came of it."""
        states = []
        with noise_is_a_problem(self.ledger):
            for length in rounds_of(seconds):
                await self._round(length)
                states.append(await self._settled(states))
                if self.ledger.open:
                    break
        return Part.of(name, self.ledger, states)

    async def _round(self, seconds: float) -> None:
        shutdown = Shutdown(grace=0.2, farewell=ServerSentEvent(retry=1), signals=False)
        until = time.monotonic() + seconds
        async with anyio.create_task_group() as group:
            for _ in range(self._streams):
                group.start_soon(self._one_after_another, shutdown, until)
            await anyio.sleep(seconds)
            shutdown.begin()
            with anyio.move_on_after(OVERDUE):
                while self.ledger.open:
                    await anyio.sleep(0.05)
            for entry in self.ledger.open.values():
                self.ledger.problem(f"still open {OVERDUE} s after a shutdown", entry.plan)
            group.cancel_scope.cancel()

    async def _one_after_another(self, shutdown: Shutdown, until: float) -> None:
        while time.monotonic() < until:
            await self._stream(shutdown)

    async def _stream(self, shutdown: Shutdown) -> None:
        entry = self.ledger.enter(plan_of(self._seed, next(self._numbers), sockets=False))
        connection = Connection(entry, self.ledger)
        timeout = SEND_TIMEOUT if entry.plan.client == "never reads" else 60.0
        app = app_of(entry, shutdown=shutdown, send_timeout=timeout)
        error: BaseException | None = None

        async def serve() -> None:
            nonlocal error
            try:
                await app(dict(SCOPE), connection.receive, connection.send)
            except Exception as caught:
                error = caught

        await serve_beside(serve, connection)
        connection.ended = True
        connection.check_text()
        self.ledger.leave(entry, error)

    async def _settled(self, states: list[State]) -> State:
        """Return the state once it is the first one's, or what it is after a while."""
        state = State.now()
        with anyio.move_on_after(OVERDUE):
            while state.growth(states[0]) if states else state.threads > 1:
                await anyio.sleep(0.1)
                state = State.now()
        return state


async def serve_beside(serve: Callable[[], Awaitable[None]], connection: Connection) -> None:
    """Run a response as a server does, while its client does what it is to do."""
    if sniffio.current_async_library() == "trio":
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(act, connection, scope.cancel)
                await serve()
                group.cancel_scope.cancel()
        return
    task = asyncio.create_task(serve())
    acting = asyncio.create_task(act(connection, task.cancel))
    await asyncio.wait([task])
    acting.cancel()
    await asyncio.wait([acting])


async def act(connection: Connection, cancel: Callable[[], object]) -> None:
    """Leave, or cancel the server's task, when the time has come."""
    plan = connection.plan
    if plan.client == "never reads" and plan.number % 2:
        return  # it stays until the server gives it up
    await anyio.sleep(plan.leaves_after)
    if plan.client == "cancels":
        cancel()
    else:
        connection.gone.set()


def soak(loop: str, *, seed: int, streams: int, seconds: float) -> Part:
    """Soak in process under asyncio, uvloop or trio."""
    backend = "trio" if loop == "trio" else "asyncio"
    options = {"use_uvloop": True} if loop == "uvloop" else {}
    runner = Soak(seed=seed, streams=streams)
    return anyio.run(runner.run, seconds, loop, backend=backend, backend_options=options)
