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
from collections.abc import Awaitable
from enum import Enum, auto
from functools import partial
from typing import Final, Literal, Protocol

from sse_asgi.host.host import Host
from sse_asgi.host.loops import Handle
from sse_asgi.wire.outcome import COMPLETED, DISCONNECTED, SHUT_DOWN, Outcome

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


# A member is slow to look up in its class: in Python 3.11 it takes a thousand instructions.
RUNNING, STOPPING, FINISHING, CLOSED = Phase

Cause = Literal[
    "source",  # it ended or raised; behind the middleware, the wrapped app did
    "hook",  # `on_chunk` raised
    "framing",  # a user's encoder raised
    "client",  # it left
    "deadline",  # a send took longer than `send_timeout`
    "shutdown",  # the grace of a `Shutdown` is over, or a wrapped app ended its stream within that
    "server",  # it cancelled the request, or its `send` or `receive` raised
]
"""Who settled the outcome of a stream."""


class Cancellable(Protocol):
    """A stream, as far as its lifecycle is concerned."""

    def cancel(self) -> None:
        """Cancel what the server's task awaits."""

    def end_alone(self) -> None:
        """End in a task of its own: the server's task cannot be freed."""


class Lifecycle:
    """The phase of one stream, its outcome, and the timer of an ending.

    Args:
        stream: Is told to cancel, and to end alone if the source does not end after a second
            cancellation either.
    """

    by: Cause | None = None  # who settled the outcome
    fatal: BaseException | None = None  # no `Exception`: raised when all has ended, and reported
    end_sent: bool = False  # the end marker, so a client that leaves misses nothing
    abandoned: bool = False  # the source did not end within `cleanup_timeout`
    shutting_down: bool = False  # the server has been told to stop
    stop_grace: float = STOP_GRACE  # longer, if the last message goes elsewhere than to a client
    _cancelled = False  # the work, once
    _shutdown_due = False  # the grace of a shutdown is over
    _grace: Handle | None = None
    _grace_ends = math.inf
    _last_stop: tuple[Outcome, Cause, float] | None = None  # what limits the last message
    _held = False

    def __init__(self, host: Host, cleanup_timeout: float, stream: Cancellable) -> None:
        self.phase: Phase = RUNNING
        self.outcome: Outcome | None = None  # how the stream ended; `None` while that is open
        self.error: BaseException | None = None  # what failed the stream
        self.client_lost: bool = False  # no further message can reach the client
        # When the server's task, or the wrapped app, began to await `send` or the background task,
        # on the host's clock; `None` if it does not.
        self.sending_since: float | None = None
        self._ending_timer: Handle | None = None
        self._host = host
        self._cleanup_timeout = cleanup_timeout
        self._stream = stream

    def settle(self, outcome: Outcome, error: BaseException | None = None, *, by: Cause) -> bool:
        """Record the outcome. Later calls are ignored; returns whether this one counted.

        An error that is no `Exception`, and no cancellation, is kept in any case, as `fatal`; so is
        a group that holds one.
        """
        harmless = (Exception, self._host.cancelled)
        if error is not None and BaseExceptionGroup("", [error]).split(harmless)[1] is not None:
            self.fatal = error
        if self.outcome is not None:
            return False
        if outcome is DISCONNECTED and self.end_sent:
            outcome, by = COMPLETED, "source"
        self.outcome, self.error, self.by = outcome, error, by
        return True

    def stop(
        self,
        outcome: Outcome,
        error: BaseException | None = None,
        *,
        by: Cause,
        client_lost: bool = False,
    ) -> None:
        """End the stream as soon as can be.

        The first call in RUNNING or STOPPING settles the outcome. In FINISHING all may still go
        well: what is left of the last message gets a time limit, unless a send has failed.

        What the server's task awaits is cancelled, once: under asyncio a later `await` works again.
        A source that stands at a `yield` is closed instead. If the client can still be reached, a
        `send` that is under way may end, for `STOP_GRACE`: nobody knows whether one that is cut
        arrives. Only a client that is lost, or whose send is cut, does not get the last message.
        """
        if self.phase is CLOSED:
            return
        self._shutdown_due = self._shutdown_due or by == "shutdown"
        grace = 0 if client_lost else self.stop_grace
        if self.phase is FINISHING:
            if self.client_lost:  # a send has failed
                self.settle(outcome, error, by=by)
            else:
                self._limit_last_message(outcome, by, CLIENT_GRACE if by == "client" else grace)
            return
        self.client_lost = self.client_lost or client_lost
        self.settle(outcome, error, by=by)
        sends, was_running = self.sending_since is not None, self.end_running()
        if sends and not self.client_lost:
            if was_running or self._shutdown_due:
                self._set_timer(grace)
        elif sends or was_running:
            self._cancel_work()

    def cancel_soon(self) -> None:
        """Cancel the work, if it is to stop and is not cancelled yet, once its task waits.

        For calls from within that task: a task that cancels itself may end before it learns of it.
        """
        if self.phase is STOPPING and not self._cancelled:
            self._host.call_soon(self._cancel_if_stopping)

    def end_running(self) -> bool:
        """Note that the source has ended, or has to; returns whether no stop came before."""
        was_running = self.phase is RUNNING
        if was_running:
            self.phase = STOPPING
        return was_running

    def begin_cleanup(self) -> None:
        """Give the source `cleanup_timeout` seconds to end, unless that time runs already."""
        if not self._cancelled:
            self._set_timer(self._cleanup_timeout)

    def begin_drain(self) -> None:
        """Begin to wait for the background task: 0.5 s at most if a shutdown's grace is over."""
        self._clear_timer()
        self.sending_since = self._host.clock()
        if self._shutdown_due:
            self._set_timer(STOP_GRACE)

    def begin_finishing(self) -> None:
        """Let the last message be sent; once a shutdown's grace is over, in half a second."""
        self._clear_timer()
        self.sending_since = None
        self.phase = FINISHING
        if self._shutdown_due:
            self._limit_last_message(SHUT_DOWN, "shutdown", self.stop_grace)

    def last_message_cut(self, *, by: Cause = "server") -> None:
        """Settle the outcome of a stream whose last message was cut, unless it is settled."""
        outcome, cause, _ = self._last_stop or (SHUT_DOWN, by, 0)
        self.client_lost = True
        self.settle(outcome, by=cause)

    async def untimed(self, hook: Awaitable[None]) -> None:
        """Await a hook, whose time does not count; limit what is left of the last message then."""
        self._clear_timer()
        self._held = True
        await hook
        self._held = False
        if self.outcome is SHUT_DOWN:
            self._limit_last_message(SHUT_DOWN, "shutdown", self.stop_grace)
        if self._last_stop is not None:
            self._set_timer(self._last_stop[2])

    def _limit_last_message(self, outcome: Outcome, by: Cause, seconds: float) -> None:
        # The first call counts. It names the outcome of a stream whose last message takes longer.
        if self._last_stop is None:
            self._last_stop = outcome, by, seconds
            if not self._held:
                self._set_timer(seconds)

    def close(self) -> None:
        """Let nothing stop the stream any more; once is enough."""
        if self.phase is CLOSED:
            return
        self.phase = CLOSED
        self._clear_timer()
        if self._grace is not None:
            self._grace.cancel()
        del self._stream  # it refers to this lifecycle

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time, because the server is to stop; the shortest time counts."""
        self.shutting_down = True
        ends = self._host.clock() + seconds
        if self.phase is CLOSED or not ends < self._grace_ends:
            return
        if self._grace is not None:
            self._grace.cancel()
        self._grace_ends = ends
        stop = partial(self.stop, SHUT_DOWN, by="shutdown")
        self._grace = self._host.call_later(seconds, stop)

    def _cancel_if_stopping(self) -> None:
        # Work that has ended waits for the background task: it is not cancelled then.
        if self.phase is STOPPING and not self._cancelled and self.sending_since is None:
            self._cancel_work()

    def _cancel_work(self) -> None:
        self._cancelled = True
        self._stream.cancel()
        self._set_timer(self._cleanup_timeout)

    def _set_timer(self, seconds: float) -> None:
        if self._ending_timer is not None:
            self._ending_timer.cancel()
        self._ending_timer = self._host.call_later(seconds, self._time_is_over)

    def _clear_timer(self) -> None:
        if self._ending_timer is not None:
            self._ending_timer.cancel()
            self._ending_timer = None
        self._last_stop = None

    def _time_is_over(self) -> None:
        if self.phase is FINISHING:
            self._stream.cancel()
        elif self.sending_since is not None:
            self.client_lost = True
            self._cancel_work()
        elif not self.abandoned:
            self.abandoned = True
            _logger.error("a source did not end within cleanup_timeout and is abandoned")
            self._stream.cancel()
            self._set_timer(LAST_CHANCE)
        else:
            self._stream.end_alone()
