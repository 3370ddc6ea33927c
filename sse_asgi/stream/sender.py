"""The sender: the one writer of a stream, and its clocks.

The server's task sends most messages itself. Beside it there is one background task at most: it
sends what is ready while the source waits, or a keep-alive. The server's task waits for that task
before it sends again. So one message at a time is on its way.
"""

import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

from sse_asgi.asgi import Message, Send
from sse_asgi.host.host import Host
from sse_asgi.host.loops import Event, Handle
from sse_asgi.stream.lifecycle import Cause, Lifecycle, Phase
from sse_asgi.stream.options import Options
from sse_asgi.wire.outcome import Outcome

KEEP_ALIVE: Final = b": keep-alive\n"
"""A comment. One newline only: at a blank line several real clients see an event."""


class Sender:
    """Hands a stream's messages to the server, one at a time and in order.

    Args:
        send: The server's callable.
        lifecycle: Learns of a send that fails or takes too long.
        next_message: Returns what the background task is to send next, or `None`.

    Attributes:
        task: The background task, while there is one.
        pending: The background task, or what will start it when the server's task waits.
        open: A keep-alive may go out now: the body has begun, and no event is cut.
        last: When the last send ended; infinity before the first.
        interrupted: The cancellation that cut a `send`, if it was meant for the source.
    """

    __slots__ = ("_clock", "_drained", "_heartbeat", "_host", "_lifecycle", "_next_message",
                 "_send", "_send_timeout", "_since", "_timer", "interrupted", "last", "open",
                 "pending", "send_here", "task")  # fmt: skip

    def __init__(
        self,
        host: Host,
        send: Send,
        lifecycle: Lifecycle,
        next_message: Callable[[], Message | None],
        options: Options,
    ) -> None:
        self.task: Handle | None = None
        self.pending: Handle | None = None
        self.open: bool = False
        self.interrupted: BaseException | None = None
        self.last: float = math.inf
        self.send_here: Send = host.sending(send)
        self._since: float | None = None
        self._drained: Event | None = None
        self._timer: Handle | None = None
        self._host = host
        self._clock = host.clock
        self._send = send
        self._lifecycle = lifecycle
        self._next_message = next_message
        self._heartbeat = options.heartbeat or math.inf
        self._send_timeout = options.send_timeout or math.inf

    async def send(self, message: Message) -> None:
        """Send from the server's task; what goes wrong is in the lifecycle, or in `interrupted`."""
        self._lifecycle.sending_since = self._clock()
        try:
            await self.send_here(message)
        except BaseException as error:  # noqa: BLE001 - judged there
            self.note_failure(error)
        self._lifecycle.sending_since = None
        self.last = self._clock()

    async def transmit(self, *messages: Message) -> None:
        """Send messages, and raise what `send` raises; an `OSError`: the client has left."""
        try:
            for message in messages:
                self._since = self._clock()
                await self._send(message)
        finally:
            self._since = None
            self.last = self._clock()

    # The background task

    def start_background(self, first: Callable[[], Awaitable[object]] | None = None) -> None:
        """Send in a task of its own what there is to send, after `first`."""
        self.task = self.pending = self._host.start(partial(self._send_all, first))

    async def drain(self) -> None:
        """Wait until the background task has sent all there is, or has lost the client."""
        if self.task is not None:
            await self.next_drained()

    async def next_drained(self) -> None:
        """Wait until `drained` is called; the background task does when it ends."""
        if self._drained is None:
            self._drained = self._host.event()
        await self._drained.wait()

    @property
    def is_awaited(self) -> bool:
        """Whether the server's task waits until all is sent."""
        return self._drained is not None

    def drained(self) -> None:
        """Wake the server's task, if it waits for the background task."""
        if self._drained is not None:
            self._drained.set()
            self._drained = None

    async def _send_all(self, first: Callable[[], Awaitable[object]] | None) -> None:
        try:
            if first is not None:
                await first()
            while (message := self._message_for_client()) is not None:
                await self.transmit(message)
                self.open = self.open or message["type"] == "http.response.body"
        except BaseException as error:  # noqa: BLE001 - judged there
            self.task = self.pending = None
            self._judge(error, in_background=True)
        finally:
            self.task = self.pending = None
            self.drained()

    def _message_for_client(self) -> Message | None:
        if self._lifecycle.client_lost:
            return None
        try:
            return self._next_message()
        except Exception as error:  # noqa: BLE001 - a user's framing may raise anything
            self._lifecycle.settle(Outcome.FAILED, error, by=Cause.FRAMING)
            if self._lifecycle.phase is not Phase.FINISHING:  # then the last message tells of it
                self._lifecycle.stop(Outcome.FAILED, error, by=Cause.FRAMING)
            return None

    def _cancel_background(self) -> None:
        if self.pending is not None:
            self.pending.cancel()
        if self.task is not None:
            self.task.cancel()  # it may not have begun yet, and then it never does
            self.drained()
        self.task = self.pending = None

    # A client that is lost

    def lose(self, outcome: Outcome, error: BaseException | None = None, *, by: Cause) -> None:
        """Stop the stream, and let no further message begin: none can reach the client.

        Once the last message is on its way, that may still arrive, in its time.
        """
        lost = self._lifecycle.phase in (Phase.RUNNING, Phase.STOPPING)
        self._lifecycle.stop(outcome, error, by=by, client_lost=True)
        if lost:
            self._cancel_background()

    def has_failed(self, outcome: Outcome, error: BaseException | None, *, by: Cause) -> None:
        """Lose the client for certain, in the last phase, too: a send has failed."""
        self._lifecycle.client_lost = True
        self._lifecycle.settle(outcome, error, by=by)
        self.lose(outcome, error, by=by)

    def note_failure(self, error: BaseException) -> None:
        """Lose the client, because a send of the server's task has failed.

        A cancellation that is meant for the source is kept in `interrupted` instead.
        """
        self._lifecycle.sending_since = None
        self._judge(error, in_background=False)

    def _judge(self, error: BaseException, *, in_background: bool) -> None:
        outcome, failure, by = Outcome.FAILED, None, Cause.SERVER
        if isinstance(error, OSError):
            outcome, by = Outcome.DISCONNECTED, Cause.CLIENT
        elif isinstance(error, Exception):
            failure = error
        elif not isinstance(error, self._host.cancelled):
            raise error
        elif self._lifecycle.client_lost or self._lifecycle.phase is Phase.CLOSED:
            return  # the stream itself has cancelled it
        elif not in_background and self._host.is_cancelled():
            self._host.keep(error)
            self.interrupted = error
            return
        else:  # the server's `send` has cancelled itself
            outcome = Outcome.SHUT_DOWN
        if not in_background:
            self._lifecycle.end_running()  # the server's task is here: it needs no cancellation
        self.has_failed(outcome, failure, by=by)

    # One timer looks at both clocks. It comes in time for a send, or a silence, that began just
    # after its last look. So a message needs no timer of its own.

    def look_at_clocks(self, due: float = math.inf) -> None:
        """Look at the clocks from now on; next when `due`, or sooner."""
        now = self._clock()
        soonest = now + min(self._heartbeat, self._send_timeout)
        if soonest < math.inf:
            seconds = max(0.0, min(due, soonest) - now)
            self._timer = self._host.call_later(seconds, self._look)

    def _look(self) -> None:
        now = self._clock()
        since = self._lifecycle.sending_since if self._since is None else self._since
        if since is None:
            due = self.last + self._heartbeat
            if now >= due:
                due = math.inf
                self._beat()
        else:
            due = since + self._send_timeout
            if now >= due:
                self.lose(Outcome.TIMED_OUT, by=Cause.DEADLINE)
                return
        self.look_at_clocks(due)

    def _beat(self) -> None:
        # A sender that waits for the background task goes on as soon as that has ended.
        lifecycle = self._lifecycle
        ends = lifecycle.client_lost or lifecycle.phase is Phase.FINISHING
        if self.open and self.task is None and lifecycle.sending_since is None and not ends:
            message = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
            self.start_background(partial(self.transmit, message))

    def close(self) -> None:
        """Stop the clocks and the background task."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.pending is not None:
            self._cancel_background()
        self.interrupted = None  # its traceback holds the stream
        self._next_message = _nothing  # it refers to the stream, which refers here


def _nothing() -> None: ...
