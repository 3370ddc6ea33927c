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
from sse_asgi.stream.lifecycle import CLOSED, FINISHING, RUNNING, STOPPING, Cause, Lifecycle
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.wire.outcome import DISCONNECTED, FAILED, SHUT_DOWN, TIMED_OUT, Outcome

KEEP_ALIVE: Final = b": keep-alive\n"
"""A comment. One newline only: at a blank line several real clients see an event."""


class Sender:
    """Hands a stream's messages to the server, one at a time and in order.

    Args:
        send: The server's callable.
        lifecycle: Learns of a send that fails or takes too long.
    """

    outbox: Outbox | None = None  # what the background task is to send
    open: bool = False  # a keep-alive may go out now: the body has begun, and no event is cut
    _drained: Event | None = None  # set as soon as all is sent, if the server's task waits for that

    def __init__(self, host: Host, send: Send, lifecycle: Lifecycle, options: Options) -> None:
        self.task: Handle | None = None  # the background task, while there is one
        self.pending: Handle | None = None  # the background task, or what will start it
        self.last: float = math.inf  # when the last send ended
        self._since: float | None = None  # when the message of `transmit` was begun
        self._timer: Handle | None = None
        self._host = host
        self._clock = host.clock
        self._send = send
        self._lifecycle = lifecycle
        self._heartbeat = options.heartbeat or math.inf
        self._send_timeout = options.send_timeout or math.inf

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

    async def next_drained(self) -> None:
        """Wait until `drained` is called; the background task does when it ends, or is lost."""
        if self._drained is None:
            self._drained = self._host.event()
        await self._drained.wait()

    @property
    def is_awaited(self) -> bool:
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
            self.send_failed(error, in_background=True)
        finally:
            self.task = self.pending = None
            self.drained()

    def _message_for_client(self) -> Message | None:
        if self._lifecycle.client_lost or self.outbox is None:
            return None
        try:
            return self.outbox.next_message()
        except BaseException as error:  # noqa: BLE001 - a user's framing may raise anything
            self._lifecycle.settle(FAILED, error, by="framing")
            if self._lifecycle.phase is not FINISHING:  # then the last message tells of it
                self._lifecycle.stop(FAILED, error, by="framing")
            return None

    def _cancel_background(self) -> None:
        if self.pending is not None:
            self.pending.cancel()
        if self.task is not None:
            self.task.cancel()  # it may not have begun yet, and then it never does
            self.drained()
        self.task = self.pending = None

    # A client that is lost

    def lose_client(
        self, outcome: Outcome, error: BaseException | None = None, *, by: Cause
    ) -> None:
        """Stop the stream, and let no further message begin: none can reach the client.

        Once the last message is on its way, that may still arrive, in its time.
        """
        lost = self._lifecycle.phase in (RUNNING, STOPPING)
        self._lifecycle.stop(outcome, error, by=by, client_lost=True)
        if lost:
            self._cancel_background()

    def send_failed(self, error: BaseException, *, in_background: bool) -> bool:
        """Lose the client, because a send has failed, unless the stream itself has cancelled that.

        Returns whether it is a cancellation of the server's task that is meant for the source.
        """
        if isinstance(error, GeneratorExit):
            raise error
        if isinstance(error, self._host.cancelled):
            if self._lifecycle.client_lost or self._lifecycle.phase is CLOSED:
                return False
            if not in_background and self._host.is_cancelled():
                self._host.keep(error)
                return True
        if not in_background:
            self._lifecycle.end_running()  # the server's task is here: it needs no cancellation
        self._lifecycle.client_lost = True  # in the last phase, too
        self._lose_by(error)
        return False

    def receive_failed(self, error: BaseException) -> bool:
        """Lose the client, because `receive` has failed; returns whether that is an error."""
        if not isinstance(error, GeneratorExit):
            self._lose_by(error)
        return not isinstance(error, (GeneratorExit, self._host.cancelled))

    def _lose_by(self, error: BaseException) -> None:
        if isinstance(error, OSError):
            self.lose_client(DISCONNECTED, by="client")
        elif isinstance(error, self._host.cancelled):  # by the server, or by what it awaits
            self.lose_client(SHUT_DOWN, by="server")
        else:
            self.lose_client(FAILED, error, by="server")

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
                self.lose_client(TIMED_OUT, by="deadline")
                return
        self.look_at_clocks(due)

    def _beat(self) -> None:
        # A sender that waits for the background task goes on as soon as that has ended.
        lifecycle = self._lifecycle
        ends = lifecycle.client_lost or lifecycle.phase is FINISHING
        if self.open and self.task is None and lifecycle.sending_since is None and not ends:
            message = {"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True}
            self.start_background(partial(self.transmit, message))

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._cancel_background()
