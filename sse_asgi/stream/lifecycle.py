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
from functools import partial
from typing import Final

from sse_asgi.host.host import Host
from sse_asgi.host.loops import Handle
from sse_asgi.wire.outcome import Outcome

CLIENT_GRACE: Final = 1.0  # some servers report that because of the message, before it is sent
"""Seconds that the last message may still take once the client has left."""

STOP_GRACE: Final = 0.5
"""The same for any other stop: a client that does not read must not hold up the server's exit."""

LAST_CHANCE: Final = 1.0
"""Seconds from the second cancellation of a source to the end of the stream without it."""

_logger = logging.getLogger("sse_asgi")


class Phase(Enum):
    """Where a stream is on its way; each phase is entered once, in this order."""

    RUNNING = auto()
    STOPPING = auto()
    FINISHING = auto()
    CLOSED = auto()


class Cause(StrEnum):
    """Who settled the outcome of a stream."""

    SOURCE = "source"  # it ended or raised; behind the middleware, the wrapped app did
    HOOK = "hook"  # `on_chunk` raised
    FRAMING = "framing"  # a user's encoder raised
    CLIENT = "client"  # it left
    DEADLINE = "deadline"  # a send took longer than `send_timeout`
    SHUTDOWN = "shutdown"  # the grace of a `Shutdown` is over
    SERVER = "server"  # it cancelled the request, or its `send` or `receive` raised


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
        end_sent: A server has taken the end marker, so a client that leaves misses nothing.
        abandoned: The source did not end within `cleanup_timeout`.
        shutting_down: The server has been told to stop.
        stop_grace: `STOP_GRACE`, unless the last message goes elsewhere than to a client.
    """

    __slots__ = ("__weakref__", "_cancel", "_cancelled", "_cleanup_timeout", "_deadline",
                 "_grace", "_grace_ends", "_held", "_host", "_last_seconds", "_last_stop",
                 "_on_stuck", "_shutdown_due", "abandoned", "by", "client_lost", "end_sent",
                 "error", "outcome", "phase", "sending_since", "shutting_down",
                 "stop_grace")  # fmt: skip

    def __init__(
        self,
        host: Host,
        *,
        cleanup_timeout: float,
        cancel: Callable[[], object],
        on_stuck: Callable[[], object],
    ) -> None:
        self.phase: Phase = Phase.RUNNING
        self.outcome: Outcome | None = None
        self.by: Cause | None = None
        self.error: BaseException | None = None
        self.client_lost: bool = False
        self.end_sent: bool = False
        self.sending_since: float | None = None
        self.abandoned: bool = False
        self.shutting_down: bool = False
        self.stop_grace: float = STOP_GRACE
        self._cancelled = self._shutdown_due = self._held = False
        self._last_seconds = STOP_GRACE
        self._grace_ends = math.inf
        self._last_stop: tuple[Outcome, Cause] | None = None
        self._deadline: Handle | None = None
        self._grace: Handle | None = None
        self._host = host
        self._cleanup_timeout = cleanup_timeout
        self._cancel = cancel
        self._on_stuck = on_stuck

    @property
    def in_send(self) -> bool:
        """Whether the server's task, or the wrapped app, awaits `send` or the background task."""
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

    def stop(
        self,
        outcome: Outcome,
        error: BaseException | None = None,
        *,
        by: Cause,
        client_lost: bool = False,
    ) -> bool:
        """End the stream as soon as can be; returns whether this call settled the outcome.

        What the server's task awaits is cancelled, once: under asyncio a later `await` works again.
        A source that stands at a `yield` is closed instead. If the client can still be reached, a
        `send` that is under way may end, for `STOP_GRACE`: nobody knows whether one that is cut
        arrives. In the last phase nothing is settled, for all may still go well.

        Args:
            outcome: How the stream ends.
            error: What has failed it.
            by: Who ends it.
            client_lost: No further message can reach the client.
        """
        if self.phase is Phase.CLOSED:
            return False
        self._shutdown_due = self._shutdown_due or by is Cause.SHUTDOWN
        grace = 0 if client_lost else self.stop_grace
        if self.phase is Phase.FINISHING:
            grace = CLIENT_GRACE if by is Cause.CLIENT else grace
            self.limit_last_message(outcome, by=by, seconds=grace)
            return False
        self.client_lost = self.client_lost or client_lost
        counted = self.settle(outcome, error, by=by)
        if self.phase is Phase.RUNNING:
            self.phase = Phase.STOPPING
            if self.in_send and not self.client_lost:
                self._set_deadline(grace)
            else:
                self._cancel_work()
        elif self.in_send and self.client_lost:
            self._cancel_work()
        elif self.in_send and self._shutdown_due:
            self._set_deadline(STOP_GRACE)
        return counted

    def send_ended(self) -> None:
        """Note that the wrapped app's `send` has returned: a stop that waited for it goes on."""
        self.sending_since = None
        self.cancel_soon()

    def cancel_soon(self) -> None:
        """Cancel the work, if it is to stop and is not cancelled yet, once its task waits.

        For calls from within that task: a task that cancels itself may end before it learns of it.
        """
        if self.phase is Phase.STOPPING and not self._cancelled:
            self._host.call_soon(self._cancel_if_stopping)

    def end_running(self) -> bool:
        """Note that the source has ended, or has to; returns whether no stop came before."""
        was_running = self.phase is Phase.RUNNING
        if was_running:
            self.phase = Phase.STOPPING
        return was_running

    def begin_cleanup(self) -> None:
        """Give the source `cleanup_timeout` seconds to end, unless that time runs already."""
        if not self._cancelled:
            self._set_deadline(self._cleanup_timeout)

    def begin_drain(self) -> None:
        """Begin to wait for the background task: 0.5 s at most if a shutdown's grace is over."""
        self._clear_deadline()
        self.sending_since = self._host.clock()
        if self._shutdown_due:
            self._set_deadline(STOP_GRACE)

    def begin_finishing(self) -> None:
        """Let the last message be sent; once a shutdown's grace is over, in half a second."""
        self._clear_deadline()
        self.sending_since = None
        self.phase = Phase.FINISHING
        if self._shutdown_due:
            self.limit_last_message(Outcome.SHUT_DOWN, by=Cause.SHUTDOWN)

    def last_message_cut(self, *, by: Cause = Cause.SERVER) -> None:
        """Settle the outcome of a stream whose last message was cut, unless it is settled."""
        outcome, cause = self._last_stop or (Outcome.SHUT_DOWN, by)
        self.client_lost = True
        self.settle(outcome, by=cause)

    def hold_deadline(self) -> None:
        """Stop the deadline until `resume_deadline`: a hook runs, whose time does not count."""
        self._clear_deadline()
        self._last_stop = None
        self._held = True

    def resume_deadline(self) -> None:
        """Give the last message its time, if a stop that came meanwhile limits it."""
        self._held = False
        if self._last_stop is not None:
            self._set_deadline(self._last_seconds)

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
        stop = partial(self.stop, Outcome.SHUT_DOWN, by=Cause.SHUTDOWN)
        self._grace = self._host.call_later(seconds, stop)

    def limit_last_message(
        self, outcome: Outcome, *, by: Cause, seconds: float | None = None
    ) -> None:
        """Give the last message so many seconds from now on, `stop_grace` by default.

        The first call counts. It names the outcome of a stream whose last message takes longer.
        """
        if self._last_stop is None:
            self._last_stop = outcome, by
            self._last_seconds = self.stop_grace if seconds is None else seconds
            if not self._held:
                self._set_deadline(self._last_seconds)

    def _cancel_if_stopping(self) -> None:
        # Work that has ended waits for the background task: it is not cancelled then.
        if self.phase is Phase.STOPPING and not (self._cancelled or self.in_send):
            self._cancel_work()

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


def _do_nothing() -> None: ...
