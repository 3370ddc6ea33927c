"""The response under trio: the source in the server's task, and a task that sends.

A task of its own must send what is ready: under trio nobody but the scheduler can step a source
up to the point where it waits.
"""

import math
from collections.abc import Callable
from time import monotonic

import anyio
import anyio.lowlevel

from sse_asgi.stream.asgi import Receive, Send
from sse_asgi.stream.ending_trio import TrioEnding
from sse_asgi.stream.line_trio import TrioLine
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import MAX_WAIT, Outbox
from sse_asgi.stream.request import Request
from sse_asgi.stream.response import Response
from sse_asgi.stream.source import SourceOpener
from sse_asgi.stream.transcript import Outcome
from sse_asgi.stream.watch import watch


class _NotingOutbox(Outbox):
    """An outbox that notes that there is something to send."""

    __slots__ = ("filled",)

    def __init__(self, encode: Callable[[str], bytes]) -> None:
        super().__init__(encode)
        self.filled = anyio.Event()

    def putter(self) -> Callable[[str], None]:
        put = super().putter()

        def put_and_note(chunk: str) -> None:
            put(chunk)
            self.note()

        return put_and_note

    def put_event(self, event: bytes) -> None:
        super().put_event(event)
        if event:
            self.note()

    def note(self) -> None:
        if not self.filled.is_set():
            self.due = monotonic() + MAX_WAIT
            self.filled.set()


class TrioResponse(Response[TrioLine], TrioEnding):
    """One response under trio."""

    outbox: _NotingOutbox
    outbox_type = _NotingOutbox
    _sender_ended = False

    def __init__(
        self,
        opener: SourceOpener,
        options: Options,
        request: Request,
        receive: Receive,
        send: Send,
    ) -> None:
        TrioEnding.__init__(self, options, send)
        super().__init__(opener, request)
        self._flushed = anyio.Event()
        self._sending = anyio.Lock()
        self._receive = receive

    async def run(self) -> None:
        """Live: from the first message to the server to the report of the end."""
        self.enter_shutdown()
        await self.end_with_work()

    async def watch(self) -> None:
        """Return when the client has left."""
        await watch(self._receive, self.request)

    async def work(self) -> None:
        """Produce, while a task sends what is ready."""
        self.start_watching()
        self.tasks.start_soon(self._send_what_is_ready)
        if not self.options.prefetch:
            self.outbox.filled.set()  # the headers wait for no chunk
        await self.produce()

    async def flush(self) -> None:
        """Wait until what is ready has been sent, by the task that sends."""
        if not self._sender_ended:
            self.outbox.filled.set()
            await self._flushed.wait()

    def cancel_work(self) -> None:
        """Cancel what the work awaits, also where its own scopes shield that from us."""
        super().cancel_work()
        self._flushed.set()

    async def pause(self) -> None:
        """Send what is ready, let others run, and let a cancellation in."""
        await self.source.wait(self._flush_and_let_others_run(), self.source_must_know)
        if self.source_must_know():  # a cancelled task does not wait at all
            await anyio.lowlevel.cancel_shielded_checkpoint()
        self.outbox.due = monotonic() + MAX_WAIT

    def source_must_know(self) -> bool:
        """Tell whether a cancellation that has come is news to the source."""
        return self.outcome is None and anyio.current_effective_deadline() == -math.inf

    async def _flush_and_let_others_run(self) -> None:
        await self.flush()
        await anyio.lowlevel.checkpoint()

    async def conclude(self) -> None:
        """Conclude, after what is being sent."""
        if not self.line.given_up:
            async with self._sending:
                await self._conclude_in_turn()

    async def _conclude_in_turn(self) -> None:
        if self.line.given_up:  # meanwhile, so there are chunks that nobody will get
            self.settle(self._final_stop or Outcome.DISCONNECTED)
        await super().conclude()

    async def _send_what_is_ready(self) -> None:
        try:
            while not self.line.given_up:
                await self.outbox.filled.wait()
                self.outbox.filled = anyio.Event()
                async with self._sending:
                    await super().flush()
                flushed, self._flushed = self._flushed, anyio.Event()
                flushed.set()
        finally:
            self._sender_ended = True
            self._flushed.set()
