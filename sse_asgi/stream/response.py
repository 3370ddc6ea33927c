"""The way of a chunk, from a source to the server's `send`.

The source steps → the outbox gathers what is ready → the recorder counts and keeps it → the
framing makes it bytes → `send`. `Response.produce` is the first half of that way, `flush` the
second. When one follows the other depends on the event loop: `on_asyncio` and `on_trio`.
"""

from abc import abstractmethod
from collections.abc import AsyncIterable, Iterable, Mapping
from inspect import isawaitable
from time import monotonic

from sse_asgi.stream.ending import Ending, LineT
from sse_asgi.stream.outbox import FRAME_SIZE, MAX_SIZE, Outbox
from sse_asgi.source.request import Request
from sse_asgi.source.source import Chunk, SourceOpener, Stepper
from sse_asgi.stream.transcript import Outcome
from sse_asgi.wire.events import ServerSentEvent


class Response(Ending[LineT]):
    """The response to one request, made by one source."""

    source: Stepper
    started = False
    outbox_type: type[Outbox] = Outbox

    def __init__(self, opener: SourceOpener, request: Request) -> None:
        self.request = request
        self.outbox = self.outbox_type(self.options.framing.encoder())
        self._opener = opener

    @property
    def http2(self) -> bool:
        """Whether the connection is one of HTTP/2."""
        return bool(self.request.scope.get("http_version") == "2")

    @abstractmethod
    async def pause(self) -> None:
        """Send what is ready, let others run, and let a cancellation in."""

    @abstractmethod
    def source_must_know(self) -> bool:
        """Tell whether a cancellation that has come is news to the source.

        It is not, if it is this stream's own stop. Else it comes from a timeout or a task group of
        the source's own, or from whoever cancels the whole task.
        """

    async def produce(self) -> None:
        """Step the source from its opening to its end; everything a source is runs in here."""
        on_chunk, outbox = self.options.on_chunk, self.outbox
        record, put = self.recorder.fresh.append, outbox.putter()
        size = 0  # of what came since the last pause; there may be less in the outbox
        source = self.source = Stepper(await self._opener.open(self.request))
        try:
            while True:
                try:
                    chunk = await source.step()
                except StopAsyncIteration:
                    break
                if isinstance(chunk, str):
                    record(chunk)
                    if on_chunk is not None:
                        self.recorder.note()  # the time of the first, before the hook's own
                        await source.tell(on_chunk, chunk, self.source_must_know)
                    put(chunk)
                    size += len(chunk) + FRAME_SIZE
                else:
                    event = frame_of(chunk)
                    outbox.put_event(event)
                    size += len(event)
                if monotonic() >= outbox.due or size >= MAX_SIZE:
                    size = 0
                    await self.pause()
                if self.outcome is not None:  # the line is lost, or the source ignored its stop
                    break
        except Exception as error:
            self.settle(Outcome.FAILED, error)  # now: the clean-up may raise another
            raise
        finally:
            await self.close_source()

    async def close_source(self) -> None:
        """Close the source, which has `cleanup_timeout` seconds for that."""
        self.bound_cleanup()
        await self.source.close()

    async def flush(self) -> None:
        """Send what is ready; the first time also the headers. A failure ends the stream."""
        body, text_chunks = self.take_ready()
        if not body and (self.started or self.options.prefetch):
            self.line.text_chunks += text_chunks  # the framing made nothing of them
            return
        if not self.started:
            await self._start(or_stop=True)
        if not self.line.given_up:
            # Some servers hold the headers back until the body begins, if only with nothing.
            message = {"type": "http.response.body", "body": body, "more_body": True}
            await self.line.transmit(message, text_chunks, or_stop=True)

    async def conclude(self) -> None:
        """Say the last words and close the body, if anybody is there to hear them."""
        failed_early = self.options.prefetch and not self.started and self.error is not None
        if self.line.given_up or (failed_early and not self.outbox):
            return
        body, text_chunks = self.take_ready()
        words = self.last_words()
        if not self.started:
            await self._start()
        await self.send_last(body + words, text_chunks)

    def take_ready(self) -> tuple[bytes, int]:
        """Take what is ready, through recorder and framing: its bytes, and its text chunks."""
        recorder = self.recorder
        if len(recorder.fresh) >= recorder.enough:
            recorder.note()
        try:
            return self.outbox.take()
        except Exception as error:  # noqa: BLE001 - a user's framing; it fails the stream
            if self.settle(Outcome.FAILED, error) and not self.concluding:
                self.cancel_work()
            return b"", 0

    async def _start(self, *, or_stop: bool = False) -> None:
        self.started = True
        await self.line.transmit(self.options.start_message(), or_stop=or_stop)
        self.line.open = not self.line.given_up


def frame_of(chunk: Chunk) -> bytes:
    """Return the bytes of a chunk that is no text: an event as it is, nothing for `None`."""
    if chunk is None:
        return b""
    if isinstance(chunk, ServerSentEvent):
        return chunk.encode()
    raise TypeError(
        f"the source yielded {type(chunk).__qualname__}; "
        f"a chunk is a str, a ServerSentEvent or None{_remedy(chunk)}"
    )


def _remedy(chunk: object) -> str:
    if isinstance(chunk, (bytes, bytearray, memoryview)):
        return ": yield text, not frames; the framing encodes it"
    if isinstance(chunk, (Mapping, list, tuple)):
        return ": encode it with json.dumps, or name its fields in a ServerSentEvent"
    if isinstance(chunk, (AsyncIterable, Iterable)):
        return ": yield what it holds, one by one"
    if isawaitable(chunk):
        return ": await it first"
    return ": yield str() of it, if that is what clients are to read"
