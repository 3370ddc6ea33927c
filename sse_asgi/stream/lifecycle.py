"""The phases of a stream, and the one way to stop it.

    RUNNING    the source is stepped, or the wrapped app runs
    STOPPING   it has to end, and cleans up
    FINISHING  the last message is on its way
    CLOSED     nothing can stop the stream any more

`stop` may be called in each phase, by the client's watcher, the clocks, a shutdown or the loop over
the source. Only this module writes the phase, the outcome and who caused it.
"""

import math
from collections.abc import Callable
from enum import Enum, StrEnum, auto
from typing import Final

from sse_asgi.host.host import Handle, Host
from sse_asgi.wire.outcome import Outcome

FINAL_GRACE: Final = {Outcome.DISCONNECTED: 1.0, Outcome.SHUT_DOWN: 0.5}
"""Seconds that a message may still take, by what happened meanwhile; 0 for the rest.

Some servers report a disconnect because of the last message, before they have sent it. And a
client that does not read must not hold up the server's exit.
"""

LAST_CHANCE: Final = 1.0
"""Seconds between the second cancellation of a source and the end of the stream without it."""


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
        on_deadline: Called when `cleanup_timeout` has passed.
        on_stuck: Called when the source has not ended after a second cancellation either.

    Attributes:
        phase: The current phase.
        outcome: How the stream ended; `None` while that is open.
        cause: Who settled the outcome.
        error: The exception that failed the stream.
        client_lost: Nothing more can be sent.
        in_send: The server's task awaits `send`. A stop that lets the client live waits for that.
        abandoned: The source did not end within `cleanup_timeout`.
        shutting_down: The server has been told to stop.
    """

    __slots__ = ("_cancel", "_cleanup_timeout", "_deadline", "_final_stop", "_grace",
                 "_grace_is_over", "_host", "_on_deadline", "_on_stuck", "abandoned", "cause",
                 "client_lost", "error", "in_send", "outcome", "phase",
                 "shutting_down")  # fmt: skip

    def __init__(
        self,
        host: Host,
        *,
        cleanup_timeout: float,
        cancel: Callable[[], object],
        on_deadline: Callable[[], object],
        on_stuck: Callable[[], object],
    ) -> None:
        self._host = host
        self._cleanup_timeout = cleanup_timeout
        self._cancel = cancel
        self._on_deadline = on_deadline
        self._on_stuck = on_stuck
        self._deadline: Handle | None = None
        self._grace: Handle | None = None
        self._grace_is_over = False
        self._final_stop: Outcome | None = None
        self.phase = Phase.RUNNING
        self.outcome: Outcome | None = None
        self.cause: Cause | None = None
        self.error: BaseException | None = None
        self.client_lost = False
        self.in_send = False
        self.abandoned = False
        self.shutting_down = False
