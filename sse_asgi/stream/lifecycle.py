"""The phases of a stream, and the one way to stop it.

    RUNNING    the source is stepped, or the wrapped app runs
    STOPPING   it has to end, and cleans up
    FINISHING  the last message is on its way
    CLOSED     nothing can stop the stream any more

`stop` may be called in each phase, by the client's watcher, the clocks, a shutdown or the loop over
the source. Only this module writes the phase, the outcome and who caused it.
"""

import logging
import math
from collections.abc import Callable
from enum import Enum, StrEnum, auto
from typing import Final

from sse_asgi.host.host import Host
from sse_asgi.host.loops import Handle
from sse_asgi.wire.outcome import Outcome

FINAL_GRACE: Final = {
    Outcome.DISCONNECTED: 1.0,
    Outcome.COMPLETED: 1.0,  # the client has left, and had it all
    Outcome.SHUT_DOWN: 0.5,
}
"""Seconds that a message may still take, by what happened meanwhile; 0 for the rest.

Some servers report a disconnect because of the last message, before they have sent it. And a
client that does not read must not hold up the server's exit.
"""

LAST_CHANCE: Final = 1.0
"""Seconds between the second cancellation of a source and the end of the stream without it."""

_logger = logging.getLogger("sse_asgi")


class Phase(Enum):
    """Where a stream is on its way; each phase is entered once, in this order."""

    RUNNING = auto()
    STOPPING = auto()
    FINISHING = auto()
    CLOSED = auto()


class Cause(StrEnum):
    """Who settled the outcome of a stream."""

    SOURCE = "source"
    HOOK = "hook"
    FRAMING = "framing"
    CLIENT = "client"
    DEADLINE = "deadline"
    SHUTDOWN = "shutdown"
    SERVER = "server"


class Lifecycle:
    """The phase of one stream, its outcome, and the deadline of its phase.

    Args:
        host: The event loop.
        cleanup_timeout: Seconds that the source may take to end once it is stopped.
        cancel: Cancels what the server's task awaits.
        on_stuck: Called when the source does not end after a second cancellation either.

    Attributes:
        phase: The current phase.
        outcome: How the stream ended; `None` while that is open.
        by: Who settled the outcome.
        error: The exception that failed the stream.
        client_lost: No further message can reach the client.
        sending_since: When the server's task, or the wrapped app, began to await `send`, on the
            host's clock; `None` if it does not.
        end_sent: The client has been sent the end marker, so it misses nothing if it leaves.
        abandoned: The source did not end within `cleanup_timeout`.
        shutting_down: The server has been told to stop.
    """

    __slots__ = (
        "__weakref__",
        "_cancel",
        "_cancelled",
        "_cleanup_timeout",
        "_deadline",
        "_final_stop",
        "_grace",
        "_grace_ends",
        "_grace_is_over",
        "_host",
        "_on_stuck",
        "abandoned",
        "by",
        "client_lost",
        "end_sent",
        "error",
        "outcome",
        "phase",
        "sending_since",
        "shutting_down",
    )  # fmt: skip

    def __init__(
        self,
        host: Host,
        *,
        cleanup_timeout: float,
        cancel: Callable[[], object],
        on_stuck: Callable[[], object],
    ) -> None:
        self.phase = Phase.RUNNING
        self.outcome: Outcome | None = None
        self.by: Cause | None = None
        self.error: BaseException | None = None
        self.client_lost = self.end_sent = False
        self.sending_since: float | None = None
        self.abandoned = self.shutting_down = False
        self._cancelled = False  # by `_cancel_work`
        self._grace_is_over = False
        self._grace_ends = math.inf
        self._final_stop: Outcome | None = None
        self._deadline: Handle | None = None
        self._grace: Handle | None = None
        self._host = host
        self._cleanup_timeout = cleanup_timeout
        self._cancel = cancel
        self._on_stuck = on_stuck

    @property
    def in_send(self) -> bool:
        """Whether the server's task, or the wrapped app, awaits `send`."""
        return self.sending_since is not None

    def settle(self, outcome: Outcome, error: BaseException | None = None, *, by: Cause) -> bool:
        """Record the outcome. Later calls are ignored; returns whether this one counted."""
        if self.outcome is not None:
            return False
        if outcome is Outcome.DISCONNECTED and self.end_sent:
            outcome = Outcome.COMPLETED
        self.outcome, self.error, self.by = outcome, error, by
        return True

    def add_error(self, error: BaseException) -> None:
        """Record an exception that came after the outcome, unless there was one before."""
        self.error = self.error or error

    def stop(self, outcome: Outcome, error: BaseException | None = None, *, by: Cause) -> bool:
        """End the stream as soon as can be; returns whether this call settled the outcome.

        What the server's task awaits is cancelled, once. But a stop that does not lose the client
        lets a `send` end, for `FINAL_GRACE` seconds: a send that is cut may be lost, or not.
        """
        if self.phase is Phase.CLOSED:
            return False
        self._grace_is_over = self._grace_is_over or by is Cause.SHUTDOWN
        if self.phase is Phase.FINISHING:  # all may still go well
            self.limit_last_message(outcome)
            return False
        counted = self.settle(outcome, error, by=by)
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPING
            if self.in_send and not self.client_lost:
                self._set_deadline(FINAL_GRACE.get(outcome, 0))
            else:
                self._cancel_work()
        elif self.in_send and self.client_lost:
            self._cancel_work()
        elif self.in_send and self._grace_is_over:
            self._set_deadline(FINAL_GRACE[Outcome.SHUT_DOWN])
        return counted

    def end_running(self) -> bool:
        """Note that the source has ended, or has to; returns whether no stop came before."""
        was_running = self.phase is Phase.RUNNING
        if was_running:
            self.phase = Phase.STOPPING
        return was_running

    def send_ended(self) -> None:
        """Note that `send` has returned: a stop that has waited for it goes on."""
        self.sending_since = None
        if self.phase is Phase.STOPPING and not self._cancelled:
            self._cancel_work()

    def begin_cleanup(self) -> None:
        """Give the source `cleanup_timeout` seconds to end, unless that time runs already."""
        if not self._cancelled:
            self._set_deadline(self._cleanup_timeout)

    def begin_drain(self) -> None:
        """Wait for the background task; once a shutdown's grace is over, half a second."""
        self._clear_deadline()
        self.sending_since = self._host.clock()
        if self._grace_is_over:
            self._set_deadline(FINAL_GRACE[Outcome.SHUT_DOWN])

    def begin_finishing(self) -> None:
        """Let the last message be sent; once a shutdown's grace is over, in half a second."""
        self._clear_deadline()
        self.sending_since = None
        self.phase = Phase.FINISHING
        if self._grace_is_over:
            self.limit_last_message(Outcome.SHUT_DOWN)

    def last_message_cut(self) -> None:
        """Settle the outcome of a stream whose last message was cancelled."""
        self.settle(self._final_stop or Outcome.SHUT_DOWN, by=Cause.SERVER)

    def lift_deadline(self) -> None:
        """Let the last message take its time after all."""
        self._final_stop = None
        self._clear_deadline()

    def close(self) -> None:
        """Enter the last phase, and drop every timer."""
        self.phase = Phase.CLOSED
        self._clear_deadline()
        if self._grace is not None:
            self._grace.cancel()
        self._cancel = self._on_stuck = _do_nothing  # they refer to the stream, which refers here

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; the shortest time counts."""
        self.shutting_down = True
        ends = self._host.clock() + seconds
        if self.phase is Phase.CLOSED or not ends < self._grace_ends:
            return
        if self._grace is not None:
            self._grace.cancel()
        self._grace_ends = ends
        self._grace = self._host.call_later(seconds, self._end_grace)

    def _end_grace(self) -> None:
        self.stop(Outcome.SHUT_DOWN, by=Cause.SHUTDOWN)

    def limit_last_message(self, outcome: Outcome) -> None:
        """Give the last message its `FINAL_GRACE` from now on; the first call counts."""
        if self._final_stop is None:
            self._final_stop = outcome
            self._set_deadline(FINAL_GRACE.get(outcome, 0))

    def _cancel_work(self) -> None:
        self._cancelled = True
        self._cancel()
        self._set_deadline(self._cleanup_timeout)

    def _set_deadline(self, seconds: float) -> None:
        self._clear_deadline()
        self._deadline = self._host.call_later(seconds, self._deadline_passed)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _deadline_passed(self) -> None:
        if self.phase is Phase.FINISHING:
            self._cancel()
        elif self.in_send:
            self.client_lost = True
            self._cancel_work()
        elif not self.abandoned:
            self.abandoned = True
            _logger.error("a source did not end within cleanup_timeout and is abandoned")
            self._cancel()
            self._set_deadline(LAST_CHANCE)
        else:
            self._on_stuck()


def _do_nothing() -> None:
    pass
