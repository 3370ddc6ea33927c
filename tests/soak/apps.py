"""The app of one plan: a source and hooks that go wrong as they are told."""

import random
import time
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing

import anyio
from starlette.responses import StreamingResponse

from sse_asgi import EventStream, EventStreamMiddleware, Shutdown, Transcript
from sse_asgi.starlette import EventStreamResponse

from .ledger import Entry, PlannedError

OVERRUN = 0.6  # seconds that a cleanup takes which should be shorter
CLEANUP_TIMEOUT = 0.3
SLOW = 0.05  # seconds that a slow hook takes
HANG = 0.5  # seconds that a sync source hangs, for its thread cannot be interrupted
START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/event-stream; charset=utf-8")],
}
END = {"type": "http.response.body", "body": b"", "more_body": False}


class Source:
    """The source of one stream; it counts what it yields."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.plan = entry, entry.plan
        self._chance = random.Random(entry.plan.number)
        self._swallows = entry.plan.swallows
        self._cancelled = anyio.get_cancelled_exc_class()  # garbage is closed outside of the loop

    async def chunks(self) -> AsyncGenerator[str]:
        try:
            for number, chunk in enumerate(self.plan.chunks):
                await self._fail_at(number)
                if self.plan.pause is not None:
                    await self._wait(self._chance.random() * self.plan.pause)
                self.entry.produced += 1
                try:
                    yield chunk
                except self._cancelled:
                    self._swallow()
            await self._fail_at(len(self.plan.chunks))
        finally:
            await self._clean_up()

    async def events(self) -> AsyncGenerator[bytes]:
        """Give the chunks as events written by hand."""
        async with aclosing(self.chunks()) as chunks:
            async for chunk in chunks:
                yield f"data: {chunk}\n\n".encode()
        yield b"data: [DONE]\n\n"

    def in_thread(self) -> Iterator[str]:
        for number, chunk in enumerate(self.plan.chunks):
            self._fail_in_thread_at(number)
            time.sleep(self._chance.random() * (self.plan.pause or 0))
            self.entry.produced += 1
            yield chunk
        self._fail_in_thread_at(len(self.plan.chunks))

    def _fail_in_thread_at(self, number: int) -> None:
        if number == self.plan.fault_at and self.plan.fault == "raises":
            raise PlannedError("in a thread")
        if number == self.plan.fault_at and self.plan.fault == "hangs":
            time.sleep(HANG)

    async def _fail_at(self, number: int) -> None:
        if number == self.plan.fault_at and self.plan.fault == "raises":
            raise PlannedError("in a source")
        while number == self.plan.fault_at and self.plan.fault == "hangs":
            await self._wait(3600)

    async def _wait(self, seconds: float) -> None:
        try:
            await anyio.sleep(seconds)
        except self._cancelled:
            self._swallow()

    def _swallow(self) -> None:
        """Ignore the cancellation that is being handled, if any may still be ignored."""
        if self._swallows == 0:
            raise  # noqa: PLE0704 - called where one is handled
        self._swallows -= 1

    async def _clean_up(self) -> None:
        if self.plan.cleanup == "raises":
            raise PlannedError("in a cleanup")
        if self.plan.cleanup:
            await anyio.sleep(OVERRUN if self.plan.cleanup == "overruns" else 0.01)


class Hooks:
    """The hooks of one stream."""

    def __init__(self, entry: Entry) -> None:
        self.entry, self.plan = entry, entry.plan

    def options(self) -> dict[str, object]:
        on_chunk = {"": None, "sync": str, "slow": self.on_chunk, "raises": self.on_chunk}
        sync = self.plan.on_complete == "sync"
        return {
            "on_chunk": on_chunk[self.plan.on_chunk],
            "on_complete": self.on_complete_in_sync if sync else self.on_complete,
        }

    async def on_chunk(self, chunk: str) -> None:
        await anyio.sleep(SLOW)
        if self.plan.on_chunk == "raises":
            raise PlannedError("in on_chunk")

    def on_complete_in_sync(self, transcript: Transcript) -> None:
        self.entry.told.append(transcript)
        self.entry.hooks_ended += 1

    async def on_complete(self, transcript: Transcript) -> None:
        self.entry.told.append(transcript)
        await anyio.sleep(SLOW if self.plan.on_complete == "slow" else 0)
        self.entry.hooks_ended += 1
        if self.plan.on_complete == "raises":
            raise PlannedError("in on_complete")


def app_of(entry: Entry, *, shutdown: Shutdown, send_timeout: float):
    """Return the ASGI app for one request."""
    plan, source = entry.plan, Source(entry)
    options = {
        **Hooks(entry).options(),
        "framing": plan.framing,
        "heartbeat": plan.heartbeat,
        "record": plan.record,
        "shutdown": shutdown,
        "send_timeout": send_timeout,
        "cleanup_timeout": CLEANUP_TIMEOUT,
    }
    if plan.wrapped:
        inner = by_hand(source) if plan.kind == "middleware" else by_starlette(source)
        return EventStreamMiddleware(inner, **options)
    entry.began = True
    generator = source.in_thread if plan.threaded else source.chunks
    kind = EventStream if plan.kind == "EventStream" else EventStreamResponse
    return kind(lambda request: generator(), prefetch=plan.prefetch, **options)


def by_hand(source: Source):
    """Return the least app that streams: it does not listen for a disconnect."""

    async def app(scope, receive, send) -> None:
        source.entry.began = True
        await send(START)
        async with aclosing(source.events()) as events:
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
        await send(END)

    return app


def by_starlette(source: Source):
    """Return Starlette's own response, which listens."""

    async def app(scope, receive, send) -> None:
        source.entry.began = True
        async with aclosing(source.events()) as events:  # which Starlette leaves to others
            await StreamingResponse(events, media_type="text/event-stream")(scope, receive, send)

    return app
