"""The inbox: the server's messages to an app, read by the app and by the client's watcher."""

from collections import deque
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

import anyio

from sse_asgi.asgi import Message, Receive

MAX_MESSAGES: Final = 64
"""Messages that are read ahead of the app; then it is the app's turn."""


class Inbox:
    """One reader at a time for a server's `receive`, which several want to read.

    The app reads when it likes. Somebody else reads ahead when the app does not, to see the
    client leave. Two at once would confuse a server.
    """

    def __init__(self, receive: Receive) -> None:
        self.client_left: bool = False
        self._listeners = 0  # tasks of the app that wait in `receive`
        self._told = self._hung_up = self._holds_back = False
        self._receive = receive
        self._messages: deque[Message] = deque()
        self._reading: anyio.CancelScope | None = None
        self._changed: anyio.Event | None = None

    @property
    def app_hears(self) -> bool:
        """Whether the app waits to be told that its client has left, or has been told."""
        return self._listeners > 0 or self._told

    async def receive(self) -> Message:
        """Return the next message: the app's `receive`."""
        self._listeners += 1
        try:
            while not (self._messages or self._is_over()):
                await self._read_or_wait()
            if self._messages:
                return self._messages.popleft()
            self._told = True
            return {"type": "http.disconnect"}
        finally:
            self._listeners -= 1
            self._notify()

    @contextmanager
    def holding_back(self) -> Generator[None]:
        """Keep from the app for a while that its client has left."""
        self._holds_back = True
        try:
            yield
        finally:
            self._holds_back = False
            self._notify()

    async def watch(self) -> None:
        """Read ahead until the client has left."""
        while not self.client_left:
            if len(self._messages) < MAX_MESSAGES:
                await self._read_or_wait()
            else:
                await self._next_change()

    def hang_up(self) -> None:
        """Tell the app that the client is gone, whether it is or not."""
        self._hung_up = True
        if self._reading is not None:  # else the app has messages to receive, or does not wait
            self._reading.cancel()

    def _is_over(self) -> bool:
        return self._hung_up or (self.client_left and not self._holds_back)

    async def _read_or_wait(self) -> None:
        if self._reading is not None or self.client_left:
            await self._next_change()
            return
        try:
            with anyio.CancelScope() as self._reading:
                message = await self._receive()
                if message["type"] == "http.disconnect":
                    self.client_left = True
                else:
                    self._messages.append(message)
        finally:
            self._reading = None
            self._notify()

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
