"""Pushes: one pub/sub connection for everything that a process listens to.

A push is a hint. Whoever listens is told when one may have been lost: after each
subscription, after each loss of the connection, and when its queue runs over.
"""

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Any

from sse_asgi.live.redis.connection import FAILURES
from sse_asgi.live.redis.replies import ReplyError

if TYPE_CHECKING:
    from sse_asgi.live.redis.connection import Connection, Connections

_logger = logging.getLogger("sse_asgi")
_QUEUE = 512
_BACKOFF = 0.5


class Channel:
    """What arrived on one channel.

    Attributes:
        name: The channel.
        messages: Payloads that nobody has taken yet.
        dirty: Whether a message may have been lost since it was last cleared.
    """

    __slots__ = ("_deadline", "_loop", "_timer", "_waiter", "dirty", "messages", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.messages: deque[bytes] = deque()
        self.dirty = False
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    def deliver(self, message: bytes) -> None:
        """Take a message in, or say that one was lost if the queue is full."""
        if len(self.messages) >= _QUEUE:
            self.lose()
            return
        self.messages.append(message)
        self._wake()

    def lose(self) -> None:
        """Forget what waits: the listener has to look for itself."""
        self.messages.clear()
        self.dirty = True
        self._wake()

    async def wait(self, timeout: float) -> bool:  # noqa: ASYNC109 - a silence is no error
        """Wait for a message or a loss; return False after that many seconds of silence."""
        if self.messages or self.dirty:
            return True
        waiter = self._waiter = self._loop.create_future()
        self._deadline = self._loop.time() + timeout
        if self._timer is None or self._timer.when() > self._deadline:
            self._set_timer()
        try:
            await waiter
        finally:
            self._waiter = None
        return bool(self.messages) or self.dirty

    def close(self) -> None:
        """Wait no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self.close()
        self._timer = self._loop.call_at(self._deadline, self._look_at_clock)

    def _look_at_clock(self) -> None:
        """End the wait if its time is over. One timer serves many waits: most are short."""
        self._timer = None
        if self._waiter is None:
            return  # the next wait sets it again
        if self._loop.time() >= self._deadline:
            self._wake()
        else:
            self._set_timer()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pushes:
    """Listens to any number of channels over one connection, from the first one on.

    Only the tasks in here wait for the connection: those who listen may be cancelled at any
    time, and only leave notes here.

    Args:
        connections: Makes it.
        silence: Seconds without a message after which the server has to answer a ping.
    """

    def __init__(self, connections: "Connections", *, silence: float) -> None:
        self._connections = connections
        self._silence = silence
        self._channels: dict[bytes, set[Channel]] = {}
        self._changed = asyncio.Event()
        self._heard = False
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    def listen(self, name: str) -> Channel:
        """Listen to a channel. It is dirty as soon as the subscription holds."""
        channel = Channel(name)
        listeners = self._channels.setdefault(name.encode(), set())
        if listeners:
            channel.dirty = True  # no confirmation will come, or it has come already
        listeners.add(channel)
        self._changed.set()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run(), name="sse_asgi redis pushes")
        return channel

    def leave(self, channel: Channel) -> None:
        """Stop listening to a channel."""
        channel.close()
        name = channel.name.encode()
        listeners = self._channels.get(name, set())
        listeners.discard(channel)
        if not listeners and self._channels.pop(name, None) is not None:
            self._changed.set()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except FAILURES as error:
                _logger.warning("lost the redis push connection: %s", type(error).__name__)
            for listeners in self._channels.values():
                for channel in listeners:
                    channel.lose()
            await asyncio.sleep(_BACKOFF)

    async def _session(self) -> None:
        """Connect, and listen until the connection fails or falls silent."""
        connection = await self._connections.open(self._hand_out, self._lose)
        try:
            await self._subscribe(connection)
        finally:
            connection.close()
            await connection.wait_closed()

    async def _subscribe(self, connection: "Connection") -> None:
        """Keep the subscriptions as the listeners want them; many changes make one command.

        Raises:
            OSError: The connection is lost.
            TimeoutError: The server has been silent, and did not answer a ping.
        """
        held: set[bytes] = set()
        self._error = None
        self._heard = True
        self._changed.set()
        while True:
            try:
                async with asyncio.timeout(self._silence):
                    await self._changed.wait()
            except TimeoutError:
                if not self._heard:
                    raise
                self._heard = False
                connection.send([("PING",)])
                continue
            self._changed.clear()
            if self._error is not None:
                raise self._error
            wanted = set(self._channels)
            if added := wanted - held:
                connection.send([("SUBSCRIBE", *added)])
            if dropped := held - wanted:
                connection.send([("UNSUBSCRIBE", *dropped)])
            held = wanted

    def _lose(self, error: Exception) -> None:
        self._error = error
        self._changed.set()

    def _hand_out(self, message: Any) -> None:  # noqa: ANN401 - whatever a reply may be
        self._heard = True
        if isinstance(message, ReplyError):
            self._lose(ConnectionError(f"redis: {message}"))
            return
        kind, name, *rest = message
        for channel in self._channels.get(name, ()):
            if kind == b"message":
                channel.deliver(rest[0])
            elif kind == b"subscribe":
                channel.lose()
