"""A stub server without sockets, in this process, and what the apps on it stream."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable

PACE = 0.0002  # seconds
BURST_CHUNKS = 500
PACED_CHUNKS = 100
CHUNKS = tuple(f"token {number}" for number in range(BURST_CHUNKS))
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "GET",
    "path": "/",
    "query_string": b"",
    "headers": [(b"host", b"guard")],
}
Source = Callable[[], AsyncIterator[str]]
App = Callable[..., Awaitable[None]]


async def burst() -> AsyncIterator[str]:
    for chunk in CHUNKS:
        yield chunk


async def paced() -> AsyncIterator[str]:
    """Each chunk is waited for, longer than a stream gathers what comes right after a send."""
    for chunk in CHUNKS[:PACED_CHUNKS]:
        yield chunk
        await asyncio.sleep(PACE)


class Connection:
    """A stub server's side of one request: a client that stays, and takes everything at once."""

    def __init__(self) -> None:
        self.messages = 0
        self.last = b""
        self.asked = False

    async def receive(self) -> dict[str, object]:
        if self.asked:
            await asyncio.get_running_loop().create_future()
        self.asked = True
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: dict[str, object]) -> None:
        self.messages += 1
        self.last = message.get("body", b"")


async def serve(app: App, *, streams: int, together: bool) -> None:
    """Answer requests, all at once or one after the other."""
    connections = [Connection() for _ in range(streams)]
    answers = [app(dict(SCOPE), each.receive, each.send) for each in connections]
    if together:
        await asyncio.gather(*answers)
    else:
        for answer in answers:
            await answer


async def cpu_seconds(app: App, streams: int, *, together: bool) -> float:
    gc.collect()
    gc.disable()
    try:
        before = time.process_time()
        await serve(app, streams=streams, together=together)
        return time.process_time() - before
    finally:
        gc.enable()
