"""The way of a chunk, from a source to the server's `send`.

The source gives a chunk → the recorder counts and keeps it → the framing encodes it → `send`. The
server's task steps the source, and awaits `send` itself when chunks come one by one.

Chunks that are ready together leave together. The loop sees in hindsight that the source has not
waited: a chunk comes at once after a send. From then on the loop gathers chunks, and puts a
callback into the event loop's queue. The callback runs when the server's task waits, so as soon as
the source waits, and has a background task send all that is ready. No chunk waits for a later one.
"""

import logging
import math
import time
from asyncio import CancelledError
from collections.abc import Awaitable, Callable
from typing import Final

from sse_asgi.asgi import Receive, Send
from sse_asgi.host.loops import Handle
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener, Stepper
from sse_asgi.stream.chunk import encode_event
from sse_asgi.stream.lifecycle import Cause, Phase
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import FRAME_SIZE, MAX_SIZE, Outbox
from sse_asgi.stream.stream import Stream
from sse_asgi.stream.watch import watch
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

AT_ONCE: Final = 0.000_05
"""Seconds after a send within which a chunk has come without the source having waited for it."""

MAX_WAIT: Final = 0.001
"""Seconds for which chunks are gathered while the source does not wait."""

PROBE: Final = 32
"""Sends after which the loop looks again whether the source waits between its chunks."""

THREADS_TURN: Final = 0.000_05
"""Seconds for which a source that never waits leaves the interpreter to other threads."""

_Hook = Callable[[str], object]
_logger = logging.getLogger("sse_asgi")


def respond(
    opener: SourceOpener, options: Options, request: Request, receive: Receive, send: Send
) -> Awaitable[None]:
    """Answer one request with a stream."""
    response = Response(opener, options, request, receive, send)
    return response.host.live(response.run)


class Response(Stream):
    """The response to one request, made by one source."""

    def __init__(
        self,
        opener: SourceOpener,
        options: Options,
        request: Request,
        receive: Receive,
        send: Send,
    ) -> None:
        super().__init__(options, request, send)
        self.outbox = Outbox(options.framing.encoder(), start_message=options.start_message)
        self.outbox.must_start = not options.prefetch  # the headers wait for no chunk
        self._source: Stepper | None = None
        self._cancellation: tuple[BaseException, bool] | None = None
        self._patience: Handle | None = None
        self._due = -math.inf
        self._gathered = 0  # characters and bytes since the last pause
        self._opener = opener
        self._receive = receive

    async def run(self) -> None:
        """Live: from the first step of the source to the report of the end."""
        host = self.host  # if the source does not end, the stream does so with another
        self.enter_shutdown()
        try:
            if not isinstance(self.options.prefetch, bool):
                self._patience = self.host.call_later(self.options.prefetch, self._start_now)
            self._arm()
            await host.work(self._produce)
            self._judge_cancellation()
            if not self.ends_elsewhere:
                await self.end()
        except GeneratorExit:
            self.close_without_loop()
            raise
        finally:
            self.has_returned = True
            if not self.ends_elsewhere:
                self.close_if_open()
        await self.wait_until_ended()
        host.take_back()
        await host.raise_cancellation()
        self._raise_early_failure()

    # The source

    async def _produce(self) -> None:  # noqa: C901 - the loop, written out
        """Step the source from its opening to its close, and send what it gives."""
        lifecycle, sender, outbox, running = self.lifecycle, self.sender, self.outbox, Phase.RUNNING
        record, put, encode = self.recorder.keep, outbox.chunks.append, outbox.encode
        send = sender.send_here
        on_chunk, clock = self.options.chunk_hook(self.request), self.host.clock
        try:
            source = self._source = Stepper(await self._opener.open(self.request))
            next_chunk, has_begun = source.next_chunk, False
            while lifecycle.phase is running:
                try:
                    chunk = await (next_chunk() if source.told is None else source.step())
                except StopAsyncIteration:
                    break
                if not (has_begun and isinstance(chunk, str)):
                    has_begun = has_begun or isinstance(chunk, str)
                    await self._take(chunk, on_chunk, source)
                    continue
                # Here nearly every chunk passes. So this is written out, and calls little.
                record(chunk)
                if on_chunk is not None:
                    await self._call_on_chunk(on_chunk, chunk, source)
                now = clock()
                if sender.pending is None and now - sender.last < AT_ONCE:
                    self._arm()  # the source has not waited
                if sender.pending is not None or lifecycle.phase is not running:
                    put(chunk)
                    self._gathered = size = self._gathered + len(chunk) + FRAME_SIZE
                    if size >= MAX_SIZE or now >= self._due:
                        await self._pause(source)
                    continue
                body = encode([chunk])
                outbox.sent_chunks = sent = outbox.sent_chunks + 1
                if not body or not sent % PROBE:
                    self._arm()
                if not body:
                    continue
                lifecycle.sending_since = now
                try:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                except BaseException as error:  # noqa: BLE001 - judged there
                    sender.note_failure(error)
                lifecycle.sending_since = None
                sender.last = clock()
                if sender.interrupted is not None:
                    await self._end_interrupted(source, sender.interrupted)
        except BaseException as error:  # noqa: BLE001 - judged there
            self._source_raised(error)
        await self._close_source()

    async def _take(self, chunk: object, on_chunk: _Hook | None, source: Stepper) -> None:
        """Take any chunk its way: the first text, a part, an event, or nothing."""
        if isinstance(chunk, str):
            self.recorder.note_first()
            self.recorder.keep(chunk)
            if on_chunk is not None:
                await self._call_on_chunk(on_chunk, chunk, source)
            self.outbox.chunks.append(chunk)
            self._gathered += len(chunk) + FRAME_SIZE
        elif isinstance(chunk, Part):
            self.recorder.take_part(chunk)
            self._gathered += self.outbox.put_part(chunk)
        elif chunk is not None:
            self._gathered += self.outbox.put_event(encode_event(chunk))
        if self.sender.pending is not None:
            if self._gathered >= MAX_SIZE or self.host.clock() >= self._due:
                await self._pause(source)
        elif self.host.clock() - self.sender.last < AT_ONCE:
            self._arm()
        elif self.lifecycle.phase is Phase.RUNNING:
            await self._send_now(source)

    async def _call_on_chunk(self, on_chunk: _Hook, chunk: str, source: Stepper) -> None:
        try:
            await source.tell(on_chunk, chunk, self._is_for_source)
            if source.told is not None and self.sender.pending is None:
                self._arm()  # the chunk leaves in the background: the source is told first
        except BaseException as error:
            self.outbox.unsent_chunks += 1
            if isinstance(error, Exception):
                self.lifecycle.settle(Outcome.FAILED, error, by=Cause.HOOK)
            raise

    async def _send_now(self, source: Stepper) -> None:
        """Send what is ready from the server's task: the source has waited for it."""
        message = self.outbox.next_message()
        if message is None:
            self._arm()
            return
        await self.sender.send(message)
        if self.sender.interrupted is not None:
            await self._end_interrupted(source, self.sender.interrupted)

    async def _end_interrupted(self, source: Stepper, error: BaseException) -> None:
        self.lifecycle.settle(Outcome.FAILED, await source.end_with(error), by=Cause.SOURCE)
        self.lifecycle.end_running()

    def _is_for_source(self) -> bool:
        """Tell whether a cancellation at an await of ours is to be raised in the source."""
        return self.lifecycle.phase is Phase.RUNNING and self.host.is_cancelled()

    def _source_raised(self, error: BaseException) -> None:
        """Settle the outcome by what the source, or a hook or the framing, has raised."""
        was_running = self.lifecycle.end_running()
        if isinstance(error, GeneratorExit):
            raise error
        if isinstance(error, self.host.cancelled):
            self._cancellation = error, was_running
            return
        error = self.host.as_failure(error)
        if self.lifecycle.settle(
            Outcome.FAILED, error, by=Cause.FRAMING if self.outbox.failed else Cause.SOURCE
        ):
            pass
        elif not isinstance(error, Exception):
            self.lifecycle.add_error(error)  # raised at the end
        elif error is not self.lifecycle.error:
            self.lifecycle.add_error(error)
            _logger.error("a source raised while it was being closed", exc_info=error)

    def _judge_cancellation(self) -> None:
        """Settle the outcome by a cancellation that came out of the source, which is closed now."""
        if self._cancellation is None:
            return
        (error, was_running), self._cancellation = self._cancellation, None
        if self.host.is_cancelled():  # else a scope of the source's own has taken it back
            self.host.keep(error)
            self.sender.lose(Outcome.SHUT_DOWN, by=Cause.SERVER)
        elif was_running:  # nobody has cancelled this task: the source awaited what was cancelled
            self.lifecycle.settle(Outcome.FAILED, self.host.as_failure(error), by=Cause.SOURCE)
        del error  # its traceback holds this stream

    async def _close_source(self) -> None:
        self.lifecycle.end_running()
        if self._source is None or self._source.has_ended:
            return
        self.lifecycle.begin_cleanup()
        try:
            await self._source.close(self.host.cleanup)
        except BaseException as error:  # noqa: BLE001 - judged there
            self._source_raised(error)

    # Gathering

    def _arm(self) -> None:
        """Have `_task_waits` called as soon as the server's task waits."""
        if self.lifecycle.phase is Phase.CLOSED:  # an abandoned source goes on
            return
        self._gathered = 0
        self._due = self.host.clock() + MAX_WAIT
        self.recorder.compact()
        self.sender.pending = self.host.call_soon(self._task_waits)

    def _task_waits(self) -> None:
        self.sender.pending = self.sender.task
        if self.lifecycle.phase is Phase.CLOSED:
            return
        if not self.is_watched:
            self.start_watching()
        if self.lifecycle.phase is Phase.FINISHING or self.sender.task is not None:
            return
        if self.outbox or self.outbox.must_start:
            asks = self.outbox.must_start and self.request.expects_continue
            self.sender.start_background(self.request.have_body_asked_for if asks else None)
        else:
            self.sender.drained()

    def _start_now(self) -> None:
        """Start the response: the first chunk takes longer than `prefetch`."""
        self.outbox.must_start = not self.outbox.has_started
        if self.sender.pending is None:
            self._arm()

    async def _pause(self, source: Stepper) -> None:
        """Have everything sent, let others run, and let a cancellation in."""
        if self.lifecycle.phase is not Phase.RUNNING:
            return
        # A server's own threads need the interpreter to bring in other requests. A source that
        # never waits would leave it to them every 5 ms at best.
        time.sleep(THREADS_TURN)  # noqa: ASYNC251
        if source.told is None:  # else the source must not wait for a slow client
            await source.wait(self.sender.next_drained(), self._is_for_source)
        if self.sender.pending is None:  # the source may go on without having waited
            self._arm()

    # The client, and the end

    def cancel(self) -> None:
        """Cancel what the server's task awaits."""
        self.host.cancel_work()

    async def watch(self) -> None:
        """Return when the client has left; raises what `receive` raises."""
        await watch(self._receive, self.request)

    async def send_last_message(self) -> None:
        """End the body; raises what `send` raises."""
        if self._is_the_servers_to_answer() and not self.outbox:
            return
        body = self.final_body()
        if not self.is_watched and self.sender.pending is None:
            self._arm()  # so that the client is watched if this takes a while
        start = self.outbox.take_start()
        await self.finish_body(body, *(() if start is None else (start,)))

    def _is_the_servers_to_answer(self) -> bool:
        failed = self.lifecycle.outcome is Outcome.FAILED
        return failed and bool(self.options.prefetch) and not self.outbox.has_started

    def _raise_early_failure(self) -> None:
        """Raise what failed the stream before its response started: the server can answer it."""
        error, self.lifecycle.error = self.lifecycle.error, None
        if error is None:
            return
        try:
            is_fatal = not isinstance(error, (Exception, CancelledError))
            if is_fatal or self._is_the_servers_to_answer():
                raise error
        finally:
            del error  # its traceback holds this frame

    def close(self) -> None:
        """Let nothing stop the stream any more, and leave nothing behind."""
        super().close()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
