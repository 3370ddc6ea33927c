"""A relay: what one client is sent of a generation, in its dialect's words."""

from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final, cast

from sse_asgi.around import enclosed
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.setup import Setup
from sse_asgi.chat.words import Words
from sse_asgi.live import INTERRUPTED, LOST, Generation
from sse_asgi.live.events import INTERRUPTED_MESSAGE, Block
from sse_asgi.source.request import Request
from sse_asgi.source.source import Chunks, SourceOpener
from sse_asgi.stream.chunk import EncodedEvents
from sse_asgi.stream.failure import MESSAGES
from sse_asgi.stream.options import Options, make_headers
from sse_asgi.stream.response import Response
from sse_asgi.wire.framing import Decode, TextFraming
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part

_BAD_ENDS: Final = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN)


class Relay:
    """Sends one client what follows a position of a generation. It is the response's framing, too.

    Args:
        setup: What knows which errors the client may learn of.
        options: The options of the chat app's streams.
        words: The client's dialect.
        started: The generation, if this client has started it: what fails it before its first
            chunk is raised, for the client to get it as a status.
        has_ended: The generation has ended, and the client has seen all of it.

    Attributes:
        headers: As the framing's: none, the response has them already.
    """

    def __init__(
        self,
        setup: Setup,
        options: Options,
        words: Words,
        *,
        started: Generation | None,
        has_ended: bool,
    ) -> None:
        self.headers: dict[str, str] = {}
        self._setup = setup
        self._options = options
        self._words = words
        self._started = started
        self._has_begun = False
        self._has_ended = has_ended
        self._last = 0

    async def run(
        self, blocks: AsyncGenerator[Block, None], viewers: Options,
        scope: Scope, receive: Receive, send: Send,
    ) -> None:  # fmt: skip
        """Send blocks, up to the end.

        Args:
            blocks: What follows the client's position.
            viewers: Options of `Live` for those who see this generation.
            scope: Of the request.
            receive: Of the request.
            send: Of the request.

        Raises:
            ChatError: The generation has failed before its first chunk.
        """
        options = self._options_for(viewers)

        async def note_begin(message: Message) -> None:
            self._has_begun = True
            await send(message)

        answer = enclosed(partial(self._send, blocks), self._setup.viewer_layers)
        await answer(options, scope, receive, note_begin)

    def _send(
        self, blocks: AsyncGenerator[Block, None],
        options: Options, scope: Scope, receive: Receive, send: Send,
    ) -> Awaitable[None]:  # fmt: skip
        # Its chunks are encoded already.
        opener = SourceOpener(cast("Chunks", self._blocks(blocks)))
        return Response(opener, options, Request(scope), receive, send).answer()

    def _options_for(self, viewers: Options) -> Options:
        """Return the options of this response; what a server's stop does to it, `Live` knows."""
        options = replace(
            self._options,
            framing=self,
            on_chunk=None,
            on_complete=None,
            record=False,
            shutdown=viewers.shutdown,
            prefetch=self._started is not None and self._options.prefetch,
        )
        headers = make_headers(self._setup.options.get("headers"), self._words.headers)
        return options.with_start(options.status, headers)

    async def _blocks(
        self, blocks: AsyncGenerator[Block, None]
    ) -> AsyncGenerator[EncodedEvents, None]:
        async with aclosing(blocks):
            async for block in blocks:
                ending = block.ending
                if ending is not None and ending.outcome in _BAD_ENDS and not self._has_begun:
                    await self._refuse_unbegun()
                self._last = block.last
                self._has_ended = ending is not None
                yield block
                if ending is not None and ending.outcome in (INTERRUPTED, LOST):
                    is_over = ending.outcome == INTERRUPTED
                    tell = self._words.failed if is_over else self._words.let_go
                    yield EncodedEvents(tell(INTERRUPTED_MESSAGE, self._last))
                    return

    async def _refuse_unbegun(self) -> None:
        """Raise what has failed the generation, if it has not said anything."""
        if self._started is None:
            return
        transcript = await self._started.transcript()
        if transcript.chunks or transcript.parts:
            return
        if transcript.error is None:
            raise ChatError(503, MESSAGES[Outcome.SHUT_DOWN], retry_after=1)
        error = self._setup.as_chat_error(transcript.error, is_logged=True)
        raise error from (None if error is transcript.error else transcript.error)

    # A framing and its encoder: all that comes is encoded already, but for the connection's end

    def encoder(self) -> "Relay":
        """Return itself."""
        return self

    def decoder(self) -> Decode:
        """Return a decoder, which nobody needs."""
        return TextFraming().decoder()

    def begin(self) -> bytes:
        """Encode nothing."""
        return b""

    def text(self, chunks: list[str]) -> bytes:  # noqa: ARG002 - there is none
        """Encode nothing."""
        return b""

    def part(self, part: Part) -> bytes:  # noqa: ARG002 - there is none
        """Encode nothing."""
        return b""

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:  # noqa: ARG002 - in the log
        """Encode nothing if the generation has ended, for its own end has been sent."""
        return b"" if self._has_ended else self._let_go()

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002 - one for all
        """Encode what tells that this connection ends."""
        return self._let_go()

    def _let_go(self) -> bytes:
        return self._words.let_go(MESSAGES[Outcome.SHUT_DOWN], self._last)
