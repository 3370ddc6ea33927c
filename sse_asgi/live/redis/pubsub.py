"""Pushes: one pub/sub connection to each node, for everything that a process listens to.

A push is a hint. Whoever listens is told when one may have been lost: after each
subscription, after each loss of the connection, and when its queue runs over.

A channel is called like a generation's log, and subscribed to at the node that has that. In a
cluster it is a sharded channel: a push then costs one node instead of all of them, and that
node knows how many follow.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from typing import Any, Final, cast

from redis.exceptions import ResponseError

from sse_asgi.live.redis.client import FAILURES, Client, packed

_logger = logging.getLogger("sse_asgi")
_QUEUE_BYTES: Final = 1_048_576
_BACKOFF: Final = 0.5


class Channel:
    """What arrived on one channel.

    Attributes:
        name: The channel.
        messages: Payloads that nobody has taken yet.
        dirty: Whether a message may have been lost since it was last cleared.
    """

    __slots__ = ("_size", "_waiter", "dirty", "messages", "name")

    def __init__(self, name: str) -> None:
        self.name: str = name
        self.messages: deque[bytes] = deque()
        self.dirty: bool = False
        self._size = 0
        self._waiter: asyncio.Future[None] | None = None

    def deliver(self, message: bytes) -> None:
        """Take a message in, or say that one was lost if the queue is full."""
        if not self.messages:
            self._size = 0
        self._size += len(message)
        if self._size > _QUEUE_BYTES:
            self.lose()
            return
        self.messages.append(message)
        self._wake()

    def lose(self) -> None:
        """Forget what waits: the listener has to look for itself."""
        self.messages.clear()
        self.dirty = True
        self._wake()

    async def wait(self, seconds: float) -> bool:
        """Wait for a message or a loss; return False after that many seconds of silence."""
        if not self.messages and not self.dirty:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                async with asyncio.timeout(seconds):
                    await self._waiter
            except TimeoutError:
                return False
            finally:
                self._waiter = None
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Pushes:
    """Listens to any number of channels, from the first one on.

    Args:
        client: Where connections come from.
        silence: Seconds without a message after which a server has to answer a ping.
    """

    def __init__(self, client: Client, *, silence: float) -> None:
        self._client = client
        self._silence = silence
        self._channels: dict[str, set[Channel]] = {}
        self._nodes: dict[str, _Node] = {}
        self._at: dict[str, _Node] = {}

    def listen(self, name: str) -> Channel:
        """Listen to a channel. It is dirty as soon as the subscription holds."""
        channel = Channel(name)
        listeners = self._channels.setdefault(name, set())
        if listeners:
            channel.dirty = True  # no confirmation will come, or it has come already
        else:
            self._place(name)
        listeners.add(channel)
        return channel

    def leave(self, channel: Channel) -> None:
        """Stop listening to a channel."""
        listeners = self._channels.get(channel.name, set())
        listeners.discard(channel)
        if not listeners and self._channels.pop(channel.name, None) is not None:
            self._at.pop(channel.name).drop(channel.name)

    def deliver(self, name: str, message: bytes) -> None:
        """Hand a message to those who listen."""
        for channel in self._channels.get(name, ()):
            channel.deliver(message)

    def lose(self, name: str) -> None:
        """Tell those who listen that a message may have been lost."""
        for channel in self._channels.get(name, ()):
            channel.lose()

    def place_anew(self, names: Iterable[str]) -> None:
        """Subscribe to channels again, wherever they belong by now."""
        for name in names:
            if name in self._channels:
                self._place(name)

    async def aclose(self) -> None:
        """Close the connections."""
        tasks = {node.task for node in self._nodes.values()}
        while tasks:  # redis-py may swallow a cancellation while it sends, under Python 3.11
            for task in tasks:
                task.cancel()
            _, tasks = await asyncio.wait(tasks, timeout=0.1)

    def _place(self, name: str) -> None:
        at = self._client.node_of(name)
        node = self._nodes.get(at)
        if node is None or node.task.done():
            node = self._nodes[at] = _Node(self._client, at, self, silence=self._silence)
        self._at[name] = node
        node.add(name)


class _Node:
    """The subscriptions at one node. Only the tasks in here wait for its connection."""

    def __init__(self, client: Client, name: str, pushes: Pushes, *, silence: float) -> None:
        self._client = client
        self._name = name
        self._pushes = pushes
        self._silence = silence
        self._wanted: set[str] = set()
        self._held: set[str] = set()
        self._connection: Any = None
        self._changing: asyncio.Task[None] | None = None
        sharded = "S" if client.clustered else ""
        self._verbs = (f"{sharded}SUBSCRIBE", f"{sharded}UNSUBSCRIBE")
        self.task = asyncio.create_task(self._run(), name="sse_asgi redis pushes")

    def add(self, name: str) -> None:
        """Subscribe to a channel."""
        self._wanted.add(name)
        self._change()

    def drop(self, name: str) -> None:
        """Unsubscribe from a channel."""
        self._wanted.discard(name)
        self._change()

    async def _run(self) -> None:
        told = ""
        while True:
            try:
                await self._listen()
            except FAILURES as error:
                cause = str(error) or type(error).__name__
                if cause != told:
                    _logger.warning("lost a redis push connection: %s", cause)
                told = cause
            wanted, self._wanted = self._wanted, set()
            for name in wanted:
                self._pushes.lose(name)
            await asyncio.sleep(_BACKOFF)
            self._pushes.place_anew(wanted)

    async def _listen(self) -> None:
        """Listen until the connection fails or falls silent.

        Raises:
            OSError, RedisError: It has.
        """
        connection = await self._client.take(self._name)
        try:
            await connection.connect()
            self._held.clear()
            self._connection = connection
            self._change()
            await self._read(connection)
        finally:
            self._connection = None
            await connection.disconnect(nowait=True)
            await self._client.give_back(self._name, connection)

    def _change(self) -> None:
        """Subscribe as is wanted; changes that come meanwhile go together."""
        if self._connection is not None and self._changing is None:
            self._changing = asyncio.create_task(
                self._subscribe(self._connection), name="sse_asgi redis subscriptions"
            )
            self._changing.add_done_callback(self._changed)

    def _changed(self, task: "asyncio.Task[None]") -> None:
        self._changing = None
        if task.cancelled() or task.exception() is not None:
            return  # the connection is broken, and whoever reads from it notices
        if self._held != self._wanted:
            self._change()

    async def _subscribe(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        wanted = set(self._wanted)
        changes = wanted - self._held, self._held - wanted
        self._held = wanted
        commands = [
            (verb, name) for verb, names in zip(self._verbs, changes, strict=True) for name in names
        ]
        if commands:
            await connection.send_packed_command(packed(connection, commands), check_health=False)

    async def _read(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        """Hand out what comes.

        Raises:
            TimeoutError: The server has been silent, and did not answer a ping.
        """
        asked = False
        while True:
            message = await connection.read_response(
                timeout=self._silence,
                disable_decoding=True,
                disconnect_on_error=False,
                push_request=True,
            )
            if message is None:
                if asked:
                    raise TimeoutError("no answer to a ping")
                ping = packed(connection, [("PING",)])
                await connection.send_packed_command(ping, check_health=False)
            asked = message is None
            self._hand_out(message)

    def _hand_out(self, message: Any) -> None:  # noqa: ANN401 - whatever a reply may be
        if not isinstance(message, list) or len(cast("list[bytes]", message)) < 3:
            return  # a pong
        kind, name, payload = cast("list[bytes]", message)
        if kind in {b"message", b"smessage"}:
            self._pushes.deliver(name.decode(), payload)
        elif kind in {b"subscribe", b"ssubscribe"}:
            self._pushes.lose(name.decode())
        elif kind == b"sunsubscribe" and name.decode() in self._wanted:
            raise ResponseError("the channel's slot has moved")
