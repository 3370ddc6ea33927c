"""The way of a chunk, from a source to the server's `send`.

The source gives a chunk → the recorder counts and keeps it → the framing encodes it → `send`. The
server's task steps the source, and awaits `send` itself when chunks come one by one.

Chunks that are ready together leave together. The loop sees in hindsight that the source has not
waited: a chunk comes at once after a send. From then on the loop gathers chunks, and puts a call
into the event loop's queue. It runs as soon as the source, and so the server's task, waits. Then a
background task sends all that is ready. No chunk waits for a later one.
"""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final

from sse_asgi.asgi import Message, Receive, Send
from sse_asgi.host.loops import Handle
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener, Stepper
from sse_asgi.stream.chunk import encode_event
from sse_asgi.stream.lifecycle import FINISHING, RUNNING, Cause
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import FRAME_SIZE, MAX_SIZE, Outbox
from sse_asgi.stream.stream import Stream
from sse_asgi.stream.watch import watch
from sse_asgi.wire.outcome import FAILED, SHUT_DOWN
from sse_asgi.wire.parts import Part

PROBE: Final = 32
"""Sends after which the loop looks again whether the source waits between its chunks."""

MAX_WAIT: Final = 0.001
"""Seconds for which chunks are gathered while the source does not wait."""

THREADS_TURN: Final = 0.000_05  # seconds for which such a source leaves the interpreter to others

Hook = Callable[[str], object]
_logger = logging.getLogger("sse_asgi")


class Response(Stream):
    """The response to one request, made by one source."""

    AT_ONCE = 0.000_05
    """Seconds after a send within which a chunk came without the source having waited for it."""

    gathered: int  # characters and bytes that have come since the last pause
    due: float  # when the source has to let others run, on the host's clock

    def __init__(
        self, opener: SourceOpener, options: Options, request: Request, receive: Receive, send: Send
    ) -> None:
        super().__init__(options, request, send)
        self.outbox: Outbox = Outbox(options.framing.encoder(), options.start_message)
        self.outbox.must_start = not options.prefetch  # the headers wait for no chunk
        self.sender.outbox = self.outbox
        self._source: Stepper | None = None
        self._prefetch_timer: Handle | None = None  # how long `prefetch` may hold the headers back
        # One that was raised at the source's `yield`, or by it, and what it is if not the server's.
        self._cancellation: tuple[BaseException, BaseException | None] | None = None
        self._opener = opener
        self._receive = receive
        self._send_here = self.host.sending(send)

    # The source

    async def run(self) -> None:  # noqa: C901, PLR0912, PLR0915 - the loop, written out
        host, lifecycle, sender, outbox = self.host, self.lifecycle, self.sender, self.outbox
        record, running = self.recorder.keep, RUNNING
        encode, send, at_once, clock = outbox.encode_one, self._send_here, self.AT_ONCE, host.clock
        on_chunk = self.options.chunk_hook(self.request)
        with host.working():
            try:
                self.enter_shutdown()
                self.begin_to_send()
                source = self._source = Stepper(await self._opener.open(self.request))
                plain: type[str] | None = None
                while lifecycle.phase is running:
                    try:
                        chunk = await (source.learn() if source.told else anext(source.chunks))
                    except StopAsyncIteration:
                        break
                    if type(chunk) is not plain:
                        plain = str if isinstance(chunk, str) else plain  # all but the first
                        await self._take(chunk, on_chunk, source)
                        continue
                    # Here nearly every chunk passes. So this is written out, and calls little.
                    record(chunk)
                    if on_chunk is not None:
                        await self._call_on_chunk(on_chunk, chunk, source)
                    now = clock()
                    if sender.pending is not None or lifecycle.phase is not running:
                        pass
                    elif now - sender.last < at_once:  # the source has not waited
                        self.arm()
                    else:
                        body = encode(chunk)
                        outbox.sent_chunks = sent = outbox.sent_chunks + 1
                        if not body:
                            self.arm()
                            continue
                        if not sent % PROBE:
                            self.arm()
                        lifecycle.sending_since = now
                        try:
                            await send(
                                {"type": "http.response.body", "body": body, "more_body": True}
                            )
                        except BaseException as error:  # noqa: BLE001 - judged there
                            await self._send_failed(error, source)
                        lifecycle.sending_since = None
                        sender.last = clock()
                        continue
                    outbox.chunks.append(chunk)
                    self.gathered = size = self.gathered + len(chunk) + FRAME_SIZE
                    if size >= MAX_SIZE or now >= self.due:
                        await self.pause(source)
            except BaseException as error:  # noqa: BLE001 - judged there
                self._source_raised(error)
            await self._close_source()
            if self._cancellation is not None:  # the source knows of it, and is closed now
                self._settle_cancellation(*self._cancellation)
        await self.conclude(host)

    async def _take(self, chunk: object, on_chunk: Hook | None, source: Stepper) -> None:
        if isinstance(chunk, str):
            self.recorder.note_first()
            self.recorder.keep(chunk)
            if on_chunk is not None:
                await self._call_on_chunk(on_chunk, chunk, source)
            self.outbox.chunks.append(chunk)
            self.gathered += len(chunk) + FRAME_SIZE
        elif isinstance(chunk, Part):
            self.recorder.parts.append(chunk)
            self.gathered += self.outbox.put_part(chunk)
        elif chunk is not None:
            self.gathered += self.outbox.put_event(encode_event(chunk))
        if self.sender.pending is not None:
            if self.gathered >= MAX_SIZE or self.host.clock() >= self.due:
                await self.pause(source)
        elif self.host.clock() - self.sender.last < self.AT_ONCE:
            self.arm()
        elif self.lifecycle.phase is RUNNING:
            if (message := self.outbox.next_message()) is None:
                self.arm()
            else:
                await self._send(message, source)

    async def _call_on_chunk(self, on_chunk: Hook, chunk: str, source: Stepper) -> None:
        try:
            await source.tell(on_chunk, chunk, self.is_for_source)
            if source.told is not None and self.sender.pending is None:
                self.arm()  # the chunk leaves in the background: the source is told first
        except BaseException as error:
            self.outbox.unsent_chunks += 1
            is_servers = isinstance(error, self.host.cancelled) and self.host.is_cancelled()
            if not (is_servers or isinstance(error, GeneratorExit)):
                self.lifecycle.settle(FAILED, self.host.as_failure(error), by="hook")
            raise

    async def _send(self, message: Message, source: Stepper) -> None:
        self.lifecycle.sending_since = self.host.clock()
        try:
            await self._send_here(message)
        except BaseException as error:  # noqa: BLE001 - judged there
            await self._send_failed(error, source)
        self.lifecycle.sending_since = None
        self.sender.last = self.host.clock()

    async def _send_failed(self, error: BaseException, source: Stepper) -> None:
        self.lifecycle.sending_since = None
        if self.sender.send_failed(error, in_background=False):
            self._cancellation = error, await source.end_with(error)
            self.lifecycle.end_running()
        del error  # its traceback holds this frame

    def _source_raised(self, error: BaseException) -> None:
        was_running = self.lifecycle.end_running()
        if isinstance(error, GeneratorExit):
            self.abort()
            raise error
        if isinstance(error, self.host.cancelled):
            # Without a server's cancellation the source awaited what was cancelled.
            failure = self.host.as_failure(error) if was_running else None
            self._cancellation = self._cancellation or (error, failure)
            return
        error = self.host.as_failure(error)
        by: Cause = "framing" if self.outbox.failed else "source"
        if not self.lifecycle.settle(FAILED, error, by=by) and error is not self.lifecycle.error:
            self.lifecycle.error = self.lifecycle.error or error
            if isinstance(error, Exception):  # any other is raised at the end, or a cancellation
                _logger.error("a source raised while it was being closed", exc_info=error)

    def _settle_cancellation(self, error: BaseException, failure: BaseException | None) -> None:
        self._cancellation = None
        if self.host.is_cancelled():  # else a scope of the source's own has taken it back
            self.host.keep(error)
            self.cancelled_by_server()
        elif failure is not None:
            self.lifecycle.settle(FAILED, failure, by="source")

    def cancelled_by_server(self) -> None:
        self.sender.lose_client(SHUT_DOWN, by="server")

    async def _close_source(self) -> None:
        self.lifecycle.end_running()
        if self._source is not None and not self._source.has_ended:
            self.lifecycle.begin_cleanup()
            try:
                await self._source.close(self.host.cleanup)
            except BaseException as error:  # noqa: BLE001 - judged there
                self._source_raised(error)

    # Gathering

    def begin_to_send(self) -> None:
        """Have what is ready sent from now on; `prefetch` holds the headers back for its time."""
        if not isinstance(self.options.prefetch, bool):
            self._prefetch_timer = self.host.call_later(self.options.prefetch, self._start_now)
        self.arm()

    def arm(self) -> None:
        """Have `_task_waits` called as soon as the server's task waits."""
        if not self.is_open:  # an abandoned source goes on
            return
        self.gathered = 0
        self.due = self.host.clock() + MAX_WAIT
        self.recorder.compact()
        self.sender.pending = self.host.call_soon(self._task_waits)

    def _task_waits(self) -> None:
        self.sender.pending = self.sender.task
        if not self.is_open:
            return
        if self.watcher is None:
            self.watch_client_and_clocks()
        if self.lifecycle.phase is FINISHING or self.sender.task is not None:
            return
        if self.outbox or self.outbox.must_start:
            asks = self.outbox.must_start and self.request.expects_continue
            self.sender.start_background(self.request.have_body_asked_for if asks else None)
        else:
            self.sender.drained()

    def _start_now(self) -> None:
        self.outbox.must_start = not self.outbox.has_started
        if self.sender.pending is None:
            self.arm()

    async def pause(self, source: Stepper) -> None:
        """Have everything sent, let others run, and let a cancellation in."""
        if self.lifecycle.phase is not RUNNING:
            return
        # A server's own threads need the interpreter to bring in other requests. A source that
        # never waits would leave it to them every 5 ms at best.
        time.sleep(THREADS_TURN)  # noqa: ASYNC251
        if source.told is None:  # else the source must not wait for a slow client
            await source.wait(self.sender.next_drained(), self.is_for_source)
        if self.sender.pending is None:  # the source may go on without having waited
            self.arm()

    def is_for_source(self) -> bool:
        """Tell whether a cancellation at an await of ours is to be raised in the source."""
        return self.lifecycle.phase is RUNNING and self.host.is_cancelled()

    # The client, and the end

    def cancel(self) -> None:
        self.host.cancel_work()

    def watch(self) -> Coroutine[Any, Any, None]:
        return watch(self._receive, self.request, self.sender)

    def send_last_message(self) -> Awaitable[None] | None:
        if self._is_the_servers_to_answer() and not self.outbox:
            return None
        body = self.final_body()
        if self.watcher is None and self.sender.pending is None:
            self.arm()  # so that the client is watched if this takes a while
        start = self.outbox.take_start()
        return self.finish_body(body, *((start,) if start else ()))

    def _is_the_servers_to_answer(self) -> bool:
        awaited = bool(self.options.prefetch) and not self.outbox.has_started
        return awaited and self.lifecycle.outcome is FAILED

    def error_for_server(self) -> BaseException | None:
        error = self.lifecycle.error if self._is_the_servers_to_answer() else None
        return super().error_for_server() or error

    def close(self) -> None:
        super().close()
        if self._prefetch_timer is not None:
            self._prefetch_timer.cancel()
