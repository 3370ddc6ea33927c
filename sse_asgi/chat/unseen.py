"""A stream that no client sees: its transcript becomes one answer."""

import inspect
import logging
from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Receive, Scope
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.setup import Chunks, Setup
from sse_asgi.chat.whole import Kept
from sse_asgi.source.request import Request
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

_logger = logging.getLogger("sse_asgi")


class UnseenStream:
    """Run a source without sending; cancel it when the client leaves or the server stops.

    Attributes:
        kept: What was said.
        transcript: How it ended, once `run` has returned.
        error: What the client may know of a failure.
    """

    def __init__(
        self,
        setup: Setup,
        chat: Chat,
        source: Callable[[Request], Chunks | Awaitable[Chunks]],
        framing: Framing,
    ) -> None:
        options = setup.options.copy()
        options["heartbeat"] = None
        options["prefetch"] = True
        self.kept = Kept(framing)
        self._stream = EventStream(source, framing=self.kept, on_complete=self._ended, **options)
        self._setup = setup
        self._chat = chat
        self._has_reported = False
        self.transcript: Transcript | None = None
        self.error: ChatError | None = None

    async def run(self, scope: Scope, receive: Receive) -> None:
        """Run the source to its end."""
        try:
            await self._stream(scope, receive, _send_nowhere)
        except Exception as error:
            if self.transcript is None:
                raise
            self.error = self._setup.as_chat_error(error)  # before the first chunk: not logged yet
        transcript = self.transcript
        if transcript is None:
            return
        if transcript.error is not None and self.error is None:
            self.error = self._setup.as_chat_error(transcript.error, is_logged=True)
        if transcript.outcome is Outcome.SHUT_DOWN:  # some servers wait for nobody once it is sent
            await self.report()

    async def report(self) -> None:
        """Call the user's `on_complete`, once. What it raises is logged."""
        hook = self._setup.for_hook(self._chat)
        if self._has_reported or self.transcript is None or hook is None:
            return
        self._has_reported = True
        with anyio.CancelScope(shield=True):
            try:
                told = hook(self.transcript)
                if inspect.isawaitable(told):
                    await told
            except Exception:
                _logger.exception("on_complete raised")

    def _ended(self, transcript: Transcript) -> None:
        self.transcript = transcript


async def _send_nowhere(_: Message) -> None:
    await anyio.lowlevel.checkpoint()
