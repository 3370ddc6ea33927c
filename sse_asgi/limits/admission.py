"""Admission: who holds a place, from the call of the source, or of the wrapped app, to its end."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

import anyio
import anyio.lowlevel

from sse_asgi.around import Answer, Attendant, Layer, Refusal
from sse_asgi.asgi import ASGIApp, Message, Receive, Scope, Send
from sse_asgi.headers import begins_event_stream
from sse_asgi.limits.refusal import send_refusal
from sse_asgi.source.request import Request
from sse_asgi.stream.options import Options
from sse_asgi.stream.stream import Stream
from sse_asgi.wire.framing import Framing


class Held(Protocol):
    """A place that can be given back."""

    def release(self) -> None:
        """Give the place back; once is enough."""


class Admitted(Layer, Attendant):
    """An answer, or a generation, that has a place."""

    option = "limits"
    kind = "Limits"

    def __init__(self, place: Held) -> None:
        self.release: Callable[[], None] = place.release

    async def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer, and give the place back as soon as the source has ended."""
        try:
            await answer(options.heard_by(self._source_ended), scope, receive, send)
        finally:
            self.release()

    def attending(self, options: Options) -> Options:
        """Give the place back as soon as the source of a generation has ended."""
        return options.heard_by(self._source_ended)

    def over(self) -> None:
        """Give the place back in any case."""
        self.release()

    def _source_ended(self, stream: Stream) -> None:
        if not stream.lifecycle.abandoned:  # else it has not, though the stream does
            self.release()


Admit: TypeAlias = Callable[[Request], Awaitable[Admitted | Refusal]]


class GuardedApp:
    """An app whose event streams need a place each. Its other responses pass untouched.

    Whether a response is an event stream shows when it starts: after the endpoint has returned, and
    before what streams is stepped. An app that is refused is cancelled there.

    Args:
        app: The app.
        admit: Takes a place for a request.
        framing: The words in which its clients are told that there is none.
    """

    def __init__(self, app: ASGIApp, admit: Admit, framing: Framing) -> None:
        self._app = app
        self._admit = admit
        self._framing = framing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the app answer one request."""
        with anyio.CancelScope() as work:
            guarded = _GuardedSend(self._admit, self._framing, scope, send, work.cancel)
            try:
                await self._app(scope, receive, guarded)
            finally:
                guarded.release()


class _GuardedSend:
    """The `send` of a guarded app."""

    def __init__(
        self,
        admit: Admit,
        framing: Framing,
        scope: Scope,
        send: Send,
        cancel: Callable[[], object],
    ) -> None:
        self._admit = admit
        self._framing = framing
        self._scope = scope
        self._send = send
        self._cancel = cancel
        self._admitted: Admitted | None = None

    async def __call__(self, message: Message) -> None:
        if begins_event_stream(message):
            await self._begin(message)
        if message["type"] == "http.response.body" and not message.get("more_body", False):
            self.release()
        await self._send(message)

    def release(self) -> None:
        """Give back the place, if there is one."""
        if self._admitted is not None:
            self._admitted.release()

    async def _begin(self, message: Message) -> None:
        admitted = await self._admit(Request(self._scope))
        if isinstance(admitted, Admitted):
            self._admitted = admitted
            return
        fields = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
        await send_refusal(admitted, self._framing, fields, self._send)
        self._cancel()
        await anyio.lowlevel.checkpoint()  # raises
