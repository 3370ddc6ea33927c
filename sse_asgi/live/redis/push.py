"""Pushes: one pub/sub connection for everything that a process listens to.

A push is a hint. Whoever listens is told when one may have been lost: after each
subscription, after each loss of the connection, and when its queue runs over.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from redis.exceptions import RedisError

if TYPE_CHECKING:
    from redis.asyncio import Redis

_logger = logging.getLogger("sse_asgi")
_LOST = (RedisError, OSError, TimeoutError)
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

    Only the tasks in here wait for redis-py. A cancellation there may close the connection,
    which is everybody's; and one that comes while a write ends is lost (`asyncio.wait_for` of
    Python 3.11). So those who listen, and are cancelled at any time, only leave notes here.

    Args:
        client: Gives the redis client.
        silence: Seconds without a message after which the server has to answer a ping.
    """

    def __init__(self, client: "Callable[[], Redis]", *, silence: float) -> None:
        self._client = client
        self._silence = silence
        self._channels: dict[bytes, set[Channel]] = {}
        self._changed = asyncio.Event()
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
            await _end(self._task)

    async def _run(self) -> None:
        while not _is_cancelled():
            try:
                await self._session()
            except _LOST as error:
                _logger.warning("lost the redis push connection: %s", type(error).__name__)
            for listeners in self._channels.values():
                for channel in listeners:
                    channel.lose()
            await asyncio.sleep(_BACKOFF)

    async def _session(self) -> None:
        client: Any = self._client()  # redis-py types pub/sub by halves
        pubsub = client.pubsub()
        subscribing: asyncio.Task[None] | None = None
        try:
            await pubsub.connect()
            self._changed.set()
            subscribing = asyncio.create_task(
                self._subscribe(pubsub), name="sse_asgi redis subscriptions"
            )
            await self._receive(pubsub, subscribing)
        finally:
            if subscribing is not None:
                await _end(subscribing)
            with suppress(*_LOST):
                await pubsub.aclose()

    async def _subscribe(self, pubsub: Any) -> None:  # noqa: ANN401 - as above
        """Keep the subscriptions as the listeners want them; many changes make one command."""
        held: set[bytes] = set()
        while not _is_cancelled():
            await self._changed.wait()
            self._changed.clear()
            wanted = set(self._channels)
            if added := wanted - held:
                await pubsub.subscribe(*added)
            if dropped := held - wanted:
                await pubsub.unsubscribe(*dropped)
            held = wanted

    async def _receive(
        self,
        pubsub: Any,  # noqa: ANN401 - as above
        subscribing: "asyncio.Task[None]",
    ) -> None:
        """Hand messages out until the connection fails or falls silent."""
        asked = False
        while not (_is_cancelled() or subscribing.done()):
            message = await pubsub.get_message(timeout=self._silence)
            if message is not None:
                asked = False
                self._hand_out(message)
            elif asked:
                raise TimeoutError("no answer to a ping")
            else:
                await pubsub.ping()
                asked = True

    def _hand_out(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        for channel in self._channels.get(message["channel"], ()):
            if kind == "message":
                channel.deliver(message["data"])
            elif kind == "subscribe":
                channel.lose()


def _is_cancelled() -> bool:
    """Tell whether this task was cancelled, even if it was not told."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _end(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it ends, and look away from how it does."""
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=0.1)
    if not task.cancelled():
        task.exception()
