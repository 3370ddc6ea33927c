"""What the demo's two lanes run: the same generator, kept by `Live`, or streamed plainly."""

import json
import math
import re
from collections.abc import AsyncGenerator, AsyncIterator

import anyio
from anyio.streams.memory import MemoryObjectSendStream
from starlette.responses import StreamingResponse

from sse_asgi import JSONFraming, MessageEvent, ServerSentEvent
from sse_asgi.demo.source import Source
from sse_asgi.live import Generation, Live, LogUnavailableError, UnknownGenerationError

ID = re.compile(r"[0-9a-f]{32}")
PLAIN_KEY = re.compile(r"[0-9a-f]{32}p[0-9]")
"""An answer's id, and the number of the try of its plain lane."""
KEY = re.compile(r"[0-9a-f]{32}(p[0-9])?")

_PATIENCE = 10.0
"""Seconds that the page's second request may take to come, before what it watches."""


_PAUSE = 0.05


class RaisedError(Exception):
    """What a lane's generator raises when the page asks for it."""


class Lanes:
    """Run answers in both lanes.

    A lane of an answer has a key: the answer's id, or that with the number of a plain try.

    Args:
        source: What answers.
        live: Keeps the answers of the first lane, and for the page what the second has made.
    """

    def __init__(self, source: Source, live: Live) -> None:
        self._source = source
        self._live = live
        self._running: set[str] = set()
        self._failing: set[str] = set()

    async def start(self, id_: str, prompt: str) -> Generation:
        """Start an answer of the first lane, or follow it."""
        return await self._live.start(
            lambda: self._answer(id_, prompt), id=id_, framing=JSONFraming()
        )

    async def stream(self, key: str, prompt: str) -> StreamingResponse:
        """Answer as an app without this library does: nobody keeps what was sent."""
        # What the plain generator makes is noted, for the page to show: nothing reads it back.
        made, notes = anyio.create_memory_object_stream[str](max_buffer_size=10_000)
        await self._live.start(notes, id=key, framing=JSONFraming(), linger=_PATIENCE)
        return StreamingResponse(
            self._note(self._answer(key, prompt), made),
            media_type="text/plain; charset=utf-8",
            headers={"x-accel-buffering": "no", "cache-control": "no-store"},
        )

    def fail(self, key: str) -> bool:
        """Have a lane's generator raise before its next chunk; False if it does not run here."""
        if key in self._running:
            self._failing.add(key)
        return key in self._running

    async def watch(self, cursors: dict[str, str]) -> AsyncGenerator[ServerSentEvent]:
        """Yield what is made in several lanes, each after its cursor, until all have ended.

        The event type is the key of the lane; the id holds all cursors, as JSON.
        """
        send, receive = anyio.create_memory_object_stream[tuple[str, MessageEvent]]()
        async with anyio.create_task_group() as tasks, receive:
            for key, cursor in cursors.items():
                tasks.start_soon(self._follow, key, cursor, send.clone())
            send.close()
            async for key, event in receive:
                cursors[key] = event.last_event_id
                if event.type == "message" and event.data != "[DONE]":
                    yield ServerSentEvent(event.data, event=key, id=json.dumps(cursors))

    async def _follow(
        self, key: str, cursor: str, send: MemoryObjectSendStream[tuple[str, MessageEvent]]
    ) -> None:
        with send, anyio.move_on_after(_PATIENCE) as waiting:
            while True:  # the request that starts the lane may be on its way yet
                try:
                    async for event in self._live.follow(key, last_event_id=cursor):
                        waiting.deadline = math.inf
                        await send.send((key, event))
                except UnknownGenerationError:
                    await anyio.sleep(_PAUSE)
                except LogUnavailableError:  # the page comes again
                    return
                else:
                    return

    async def _answer(self, key: str, prompt: str) -> AsyncGenerator[str]:
        """Yield the answer, the same in both lanes if the source allows it."""
        seed = int(key[:32], 16)
        chunks = self._source.answer(prompt, seed=seed)
        self._running.add(key)
        try:
            async for chunk in chunks:
                if key in self._failing:
                    raise RaisedError("raised because the page asked for it")
                yield chunk
        finally:
            self._running.discard(key)
            self._failing.discard(key)
            await chunks.aclose()

    async def _note(
        self, chunks: AsyncIterator[str], made: MemoryObjectSendStream[str]
    ) -> AsyncGenerator[bytes]:
        with made:
            async for chunk in chunks:
                made.send_nowait(chunk)
                yield chunk.encode("utf-8", "replace")
