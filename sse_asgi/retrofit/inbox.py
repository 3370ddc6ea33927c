"""The inbox: the server's messages to an app, read by the app or by whoever watches the client."""

from collections import deque
from typing import Final

import anyio

from sse_asgi.asgi import Message, Receive

MAX_MESSAGES: Final = 64
"""Messages that are read ahead of the app; then it is the app's turn."""


class Inbox:
    """One reader at a time for a server's `receive`, which several want to read.

    The app reads when it likes. Somebody else reads ahead when the app does not, to see the
    client leave. Two at once would confuse a server.

    Attributes:
        client_left: The client has left.
        listeners: How many of the app's tasks wait in `receive` now.
        heard: The app has been told that the client is gone.
        holding: The app is not to hear yet that the client has left.
    """

    def __init__(self, receive: Receive) -> None:
        self.client_left: bool = False
        self.listeners: int = 0
        self.heard: bool = False
        self.holding: bool = False
        self._receive = receive
        self._messages: deque[Message] = deque()
        self._reading: anyio.CancelScope | None = None
        self._changed: anyio.Event | None = None
        self._hung_up = False

    async def receive(self) -> Message:
        """Return the next message; the app's `receive`."""
        self.listeners += 1
        try:
            while not (self._messages or self._is_over()):
                await self._read_or_wait()
            if self._messages:
                return self._messages.popleft()
            self.heard = True
            return {"type": "http.disconnect"}
        finally:
            self.listeners -= 1
            self._notify()

    def let_go(self) -> None:
        """Hold nothing back any more."""
        self.holding = False
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
        if self._reading is not None:
            self._reading.cancel()
        self._notify()

    def _is_over(self) -> bool:
        return self._hung_up or (self.client_left and not self.holding)

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
