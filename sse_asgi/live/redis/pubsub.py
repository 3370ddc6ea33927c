"""Pushes: one pub/sub connection to a node, for everything that a process listens to there.

A push is a hint. Whoever listens is told when some may have been lost: after each subscription, and
when the connection has failed, which ends all of them. Who goes on listens again, wherever the
channel belongs by now.

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

from sse_asgi.live.redis.client import FAILURES, PAUSE, Client, end
from sse_asgi.live.redis.lanes import Command, packed

Listener = Callable[[bytes | None], None]
"""Takes a message; or None, where some may have been lost."""

_TOLD = b"message", b"smessage", b"subscribe", b"ssubscribe"
_logger = logging.getLogger("sse_asgi")


class Pushes:
    """The subscriptions at one node, which is sent a ping every `silence` seconds."""

    def __init__(self, client: Client, node: str, *, silence: float) -> None:
        self._client = client
        self._node = node
        self._silence = silence
        self._listeners: dict[str, set[Listener]] = {}
        self._subscribed: set[str] = set()
        self._changed = asyncio.Event()
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
        self._changed.set()
        if self._task is None or self._task.done():  # whoever closes the event loop cancels it
            self._task = asyncio.create_task(self._run(), name="sse_asgi redis pushes")

    def leave(self, channel: str, listener: Listener) -> None:
        """Tell a listener no more."""
        listeners = self._listeners.get(channel, set())
        listeners.discard(listener)
        if not listeners and self._listeners.pop(channel, None) is not None:
            self._changed.set()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._task is not None:
            await end(self._task)

    async def _run(self) -> None:
        told = ""
        while True:
            try:
                await self._listen()
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

    async def _listen(self) -> None:
        """Listen until the connection fails or falls silent, which raises."""
        connection = await self._client.take(self._node)
        try:
            await connection.connect()
            subscribing = asyncio.create_task(
                self._subscribe(connection), name="sse_asgi redis subscriptions"
            )
            try:
                await self._read(connection)
            finally:
                await end(subscribing)
        finally:
            await self._client.give_back(connection)

    async def _subscribe(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        """Subscribe as is wanted; changes that come meanwhile go together."""
        self._subscribed = set()
        with contextlib.suppress(*FAILURES):  # whoever reads from the connection notices
            while True:
                self._changed.clear()
                wanted = set(self._listeners)
                changes = wanted - self._subscribed, self._subscribed - wanted
                self._subscribed = wanted
                commands: list[Command] = [
                    (verb, channel)
                    for verb, channels in zip(self._verbs, changes, strict=True)
                    for channel in channels
                ]
                if commands:
                    data = packed(connection, commands)
                    await connection.send_packed_command(data, check_health=False)
                await self._changed.wait()

    async def _read(self, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        """Hand out what comes, until nothing answers a ping."""
        asked = False
        while True:
            try:
                async with asyncio.timeout(self._silence):  # one for each message would cost more
                    while True:
                        message = await connection.read_response(
                            timeout=math.inf,
                            disable_decoding=True,
                            disconnect_on_error=False,
                            push_request=True,
                        )
                        asked = False
                        if isinstance(message, list) and len(cast("list[bytes]", message)) == 3:
                            self._hand_out(*cast("list[bytes]", message))  # else it is a pong
            except TimeoutError:
                if asked:
                    raise TimeoutError("no answer to a ping") from None
            asked = True
            ping = packed(connection, [("PING",)])
            await connection.send_packed_command(ping, check_health=False)

    def _hand_out(self, kind: bytes, channel: bytes, payload: bytes) -> None:
        listeners = self._listeners.get(channel.decode(), ())
        if kind == b"sunsubscribe" and listeners:
            raise ResponseError("the channel's slot has moved")
        if kind in _TOLD:
            for listener in listeners:
                listener(payload if kind.endswith(b"message") else None)
