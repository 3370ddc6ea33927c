"""The way of a chunk, from a source to the server's `send`.

The source steps → the recorder counts and keeps it → the framing makes it bytes → the outbox
joins what is ready → `send`. `Response.produce` is that loop. What depends on the event loop is
in `on_asyncio` and `on_trio`.
"""

from abc import abstractmethod
from inspect import isawaitable

from sse_asgi.stream.ending import Ending, LineT
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.request import Request
from sse_asgi.stream.source import Chunk, SourceOpener, close
from sse_asgi.stream.transcript import Outcome
from sse_asgi.wire.events import ServerSentEvent


class Response(Ending[LineT]):
    """The response to one request, made by one source."""

    def __init__(self, opener: SourceOpener, request: Request) -> None:
        self.request = request
        self.http2 = request.scope.get("http_version") == "2"
        self.outbox = Outbox()
        self.started = False
        self._opener = opener
        self._encode = self.options.framing.encoder()

    @abstractmethod
    async def pause(self) -> None:
        """Send what is ready, let others run, and let a cancellation in.

        One that the source's own timeout or task group sends is deferred to the source's next
        await, where it belongs. A source that awaits nothing until the next pause is cut there.
        """

    async def produce(self) -> None:
        """Step the source from its opening to its end; everything a source is runs in here."""
        on_chunk, outbox = self.options.on_chunk, self.outbox
        take, encode = self.recorder.take, self._encode
        if not self.options.prefetch:
            await self.flush()  # the headers reach the client before the first chunk does
            if self.outcome is not None:
                return
        source = await self._opener.open(self.request)
        try:
            async for chunk in source:
                if isinstance(chunk, str):
                    take(chunk)
                    if on_chunk is not None:
                        await_it = on_chunk(chunk)
                        if await_it is not None and isawaitable(await_it):
                            await await_it
                    is_due = outbox.put(encode(chunk), 1)
                else:
                    is_due = outbox.put(frame_of(chunk), 0)
                if is_due:
                    await self.pause()
                if self.outcome is not None:  # the line is lost, or the source ignored its stop
                    break
        except Exception as error:
            self.settle(Outcome.FAILED, error)  # now: the clean-up may raise another
            raise
        finally:
            self.bound_cleanup()
            await close(source)

    async def flush(self) -> None:
        """Send what is ready; the first time also the headers. Settles the outcome on failure."""
        body, text_chunks = self.outbox.take()
        if not body and (self.started or self.options.prefetch):
            self.line.text_chunks += text_chunks  # the framing made nothing of them
            return
        try:
            if not self.started:
                await self._start()
            message = {"type": "http.response.body", "body": body, "more_body": True}
            await self.line.transmit(message, text_chunks=text_chunks)
        except OSError:
            self.lose_line(Outcome.DISCONNECTED)
        except Exception as error:  # noqa: BLE001 - settled, and raised to the server at the end
            self.lose_line(Outcome.FAILED, error)

    async def conclude(self) -> None:
        """Say the last words and close the body, if anybody is there to hear them."""
        if self.line_lost or (not self.started and self.error is not None and not self.outbox):
            return
        body, text_chunks = self.outbox.take()
        body += self.last_words()
        if not self.started:
            await self._start()
        await self.send_last(body, text_chunks)

    async def _start(self) -> None:
        self.started = True
        options = self.options
        headers = list(options.headers)  # middleware may change the list
        await self.line.transmit({
            "type": "http.response.start", "status": options.status, "headers": headers,
        })  # fmt: skip
        self.line.open = True


def frame_of(chunk: Chunk) -> bytes:
    """Return the bytes of a chunk that is no text: an event as it is, nothing for `None`."""
    if chunk is None:
        return b""
    if isinstance(chunk, ServerSentEvent):
        return chunk.encode()
    raise TypeError(
        f"the source yielded {type(chunk).__qualname__}; "
        "a chunk is a str, a ServerSentEvent or None"
    )
