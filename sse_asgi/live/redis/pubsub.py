"""Pushes: one pub/sub connection to a node, for everything that a process listens to there.

A push is a hint. Whoever listens is told when some may have been lost: after each subscription,
when the channel has been silent, and when the connection has failed, which ends all subscriptions.
Who goes on listens again, wherever the channel belongs by now.

A channel is called like a generation's log, and subscribed to at the node that has that. In a
cluster it is a sharded channel: a push then costs one node instead of all of them, and that
node knows how many follow.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable
from typing import Any, cast

from redis.exceptions import ResponseError

from sse_asgi.live.redis.client import PAUSE, Client, end
from sse_asgi.live.redis.lanes import Command, packed

Listener = Callable[[bytes | None], None]
"""Takes a message; or None, where some may have been lost."""

_PONG = ""  # stands for the channel of what comes by none
_logger = logging.getLogger("sse_asgi")


class Pushes:
    """The subscriptions at one node, which is sent a ping every `silence` seconds."""

    def __init__(self, client: Client, node: str, *, silence: float) -> None:
        self._client = client
        self._node = node
        self._silence = silence
        self._listeners: dict[str, set[Listener]] = {}
        self._subscribed: set[str] = set()
        self._heard: set[str] = set()  # channels that were not silent since the last ping
        self._loop = asyncio.get_running_loop()
        self._ping_at = 0.0
        self._reading: asyncio.Timeout | None = None
        self._task: asyncio.Task[None] | None = None
        sharded = "S" if client.clustered else ""
        self._verbs = f"{sharded}SUBSCRIBE", f"{sharded}UNSUBSCRIBE"

    def listen(self, channel: str, listener: Listener) -> None:
        """Tell a listener of a channel, unless it is told already."""
        listeners = self._listeners.setdefault(channel, set())
        if listener in listeners:
            return
        listeners.add(listener)
        if channel in self._subscribed:
            listener(None)  # no confirmation will come, or it has come already
        self._stop_reading()
        if self._task is None or self._task.done():  # whoever closes the event loop cancels it
            self._task = asyncio.create_task(self._run(), name="sse_asgi redis pushes")

    def leave(self, channel: str, listener: Listener) -> None:
        """Tell a listener no more."""
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if not listeners and self._listeners.pop(channel, None) is not None:
            self._stop_reading()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._task is not None:
            await end(self._task)

    def _stop_reading(self) -> None:
        """Let the task send what has changed: changes that come meanwhile go together."""
        if self._reading is not None and not self._reading.expired():
            self._reading.reschedule(self._loop.time())

    async def _run(self) -> None:
        told = ""
        while True:
            try:
                async with self._client.connection(self._node) as connection:
                    await self._listen(connection)
            except Exception as error:  # noqa: BLE001 - redis-py raises what it does not document
                cause = str(error) or type(error).__name__
                if cause != told:
                    _logger.warning("lost a redis push connection: %s", cause)
                told = cause
            lost, self._listeners = self._listeners, {}
            for listeners in lost.values():
                for listener in listeners:
                    listener(None)
            await asyncio.sleep(PAUSE)

    async def _listen(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        """Hand out what comes, until the connection fails or nothing answers a ping."""
        self._subscribed, self._heard = set(), {_PONG}
        self._ping_at = self._loop.time() + self._silence
        try:
            while True:
                while commands := self._due():
                    data = packed(connection, commands)
                    await connection.send_packed_command(data, check_health=False)
                # One timer for all messages: one for each would cost more.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout_at(self._ping_at) as self._reading:
                        await self._read(connection)
        finally:
            self._reading = None

    def _due(self) -> list[Command]:
        """Return what has to be sent now."""
        wanted = set(self._listeners)
        changes = wanted - self._subscribed, self._subscribed - wanted
        self._subscribed = wanted
        commands: list[Command] = [
            (verb, channel)
            for verb, channels in zip(self._verbs, changes, strict=True)
            for channel in channels
        ]
        if self._loop.time() >= self._ping_at:
            if not self._heard:
                raise TimeoutError("no answer to a ping")
            for channel in wanted - self._heard:
                self._tell(channel, None)
            self._heard = set()
            self._ping_at = self._loop.time() + self._silence
            commands.append(("PING",))
        return commands

    async def _read(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        while True:
            message = await connection.read_response(
                timeout=math.inf,
                disable_decoding=True,
                disconnect_on_error=False,
                push_request=True,
            )
            if isinstance(message, list) and len(cast("list[bytes]", message)) == 3:
                self._take(*cast("list[bytes]", message))
            else:
                self._heard.add(_PONG)

    def _take(self, kind: bytes, name: bytes, payload: bytes) -> None:
        channel = name.decode()
        self._heard.add(channel)
        if kind == b"sunsubscribe" and channel in self._listeners:
            raise ResponseError("the channel's slot has moved")
        if kind.endswith(b"message"):
            self._tell(channel, payload)
        elif not kind.endswith(b"unsubscribe"):
            self._tell(channel, None)

    def _tell(self, channel: str, message: bytes | None) -> None:
        for listener in self._listeners.get(channel, ()):
            listener(message)
