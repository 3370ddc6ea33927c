"""Gathering: chunks that come without the source having waited leave together.

The loop of `Response` sees in hindsight that the source has not waited, and arms a callback in the
event loop's queue. The callback runs when the server's task waits, so as soon as the source waits.
Then a background task sends all that is ready.
"""

import math
import time
from typing import Final

from sse_asgi.asgi import Send
from sse_asgi.host.loops import Handle
from sse_asgi.source.request import Request
from sse_asgi.source.source import Stepper
from sse_asgi.stream.lifecycle import Phase
from sse_asgi.stream.options import Options
from sse_asgi.stream.stream import Stream

MAX_WAIT: Final = 0.001
"""Seconds for which chunks are gathered while the source does not wait."""

THREADS_TURN: Final = 0.000_05
"""Seconds for which a source that never waits leaves the interpreter to other threads."""


class GatheringStream(Stream):
    """A stream that sends what is ready as soon as its source waits.

    Attributes:
        gathered: Characters and bytes that have come since the last pause.
        due: When the source has to let others run, on the host's clock.
    """

    __slots__ = ("_patience", "due", "gathered")

    def __init__(self, options: Options, request: Request, send: Send) -> None:
        super().__init__(options, request, send)
        self.gathered: int = 0
        self.due: float = -math.inf
        self._patience: Handle | None = None

    def begin_to_gather(self) -> None:
        """Arm the callback for the first wait; start the response later if `prefetch` is over."""
        if not isinstance(self.options.prefetch, bool):
            self._patience = self.host.call_later(self.options.prefetch, self._start_now)
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
        if not self.is_watched:
            self.start_watching()
        if self.lifecycle.phase is Phase.FINISHING or self.sender.task is not None:
            return
        if self.outbox or self.outbox.must_start:
            self.send_ready()
        else:
            self.sender.drained()

    def send_ready(self) -> None:
        """Send in the background what is ready: the source waits."""
        asks = self.outbox.must_start and self.request.expects_continue
        self.sender.start_background(self.request.have_body_asked_for if asks else None)

    def _start_now(self) -> None:
        """Start the response: the first chunk takes longer than `prefetch`."""
        self.outbox.must_start = not self.outbox.has_started
        if self.sender.pending is None:
            self.arm()

    async def pause(self, source: Stepper) -> None:
        """Have everything sent, let others run, and let a cancellation in."""
        if self.lifecycle.phase is not Phase.RUNNING:
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
        return self.lifecycle.phase is Phase.RUNNING and self.host.is_cancelled()

    def close(self) -> None:
        """Let nothing stop the stream any more, and leave nothing behind; once is enough."""
        super().close()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
