"""A relay: what one client is sent of a generation, in its dialect's words."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final, TypeAlias, cast

from sse_asgi.around import enclosed
from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.chat.client import Client
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.framings import Silent
from sse_asgi.chat.setup import Setup
from sse_asgi.dialects import AGUI, UIMessages
from sse_asgi.dialects.encoder import DONE, typed_event
from sse_asgi.headers import make_headers
from sse_asgi.live import INTERRUPTED, LOST, Generation
from sse_asgi.live.events import INTERRUPTED_MESSAGE, Block
from sse_asgi.source.request import Request
from sse_asgi.source.source import Chunks, SourceOpener
from sse_asgi.stream.chunk import EncodedEvents
from sse_asgi.stream.failure import MESSAGES
from sse_asgi.stream.options import Options
from sse_asgi.stream.response import Response
from sse_asgi.wire.framing import Framing, TextFraming
from sse_asgi.wire.outcome import Outcome

Tell: TypeAlias = Callable[[str, int], bytes]

_BAD_ENDS: Final = (Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN)


@dataclass(frozen=True, slots=True)
class Words:
    """What the clients of a dialect are told when a generation, or a connection, ends too early.

    Each function is given a message for people, and how many events the client has got; it returns
    whole encoded events.

    Attributes:
        headers: The response headers that the dialect demands.
        failed: Tells that the generation has ended, though its answer has not.
        let_go: Tells that this connection ends; the generation may go on. Never nothing.
    """

    headers: Mapping[str, str]
    failed: Tell
    let_go: Tell


def _failure_in(framing: Framing) -> Tell:
    return lambda message, last: framing.encoder().fail(message, Outcome.FAILED)  # noqa: ARG005


_UI_MESSAGES: Final = UIMessages()
_AGUI: Final = AGUI(thread_id="-", run_id="-")

WORDS_OF_CHATS: Final = Words(  # a clean end would pass for a whole answer
    _UI_MESSAGES.headers, failed=_failure_in(_UI_MESSAGES), let_go=_failure_in(_UI_MESSAGES)
)
WORDS_OF_RUNS: Final = Words(  # without an error or an end the client comes back by itself
    _AGUI.headers,
    failed=_failure_in(_AGUI),
    let_go=lambda message, last: b": to be continued\n",  # noqa: ARG005 - nobody reads it
)


def words_of_response(response: dict[str, Any]) -> Words:
    """Return the words of OpenAI's Responses: both are errors, at which its clients raise."""

    def error(message: str, number: int) -> bytes:
        error = {"type": "server_error", "code": "server_error", "message": message, "param": None}
        return typed_event({"type": "error", "error": error, "sequence_number": number})

    def failed(message: str, last: int) -> bytes:
        why = {"code": "server_error", "message": message}
        response_failed = {
            "type": "response.failed",
            "response": {**response, "status": "failed", "error": why},
            "sequence_number": last + 1,
        }
        return error(message, last) + typed_event(response_failed) + DONE

    # The number is that of the last event: from there it can go on.
    return Words({}, failed, let_go=lambda message, last: error(message, max(0, last - 1)))


class Relay(Silent):
    """Sends one client what follows a position of a generation.

    It is the response's framing, too. All that comes is encoded already but the connection's end.

    Args:
        setup: What knows which errors the client may learn of.
        options: The options of the chat app's streams.
        words: The client's dialect.
        client: The client.
        started: The generation, if this client has started it: what fails it before its first
            chunk is raised, for the client to get it as a status.
        has_ended: The generation has ended, and the client has seen all of it.
    """

    def __init__(
        self,
        setup: Setup,
        options: Options,
        words: Words,
        client: Client,
        *,
        started: Generation | None,
        has_ended: bool,
    ) -> None:
        super().__init__(TextFraming())  # no headers: the response has them already
        self._setup = setup
        self._options = options
        self._words = words
        self._started = started
        self._client = client
        self._has_ended = has_ended
        self._last = 0

    async def run(self, blocks: AsyncGenerator[Block, None], viewers: Options) -> None:
        """Send blocks, up to the end.

        Args:
            blocks: What follows the client's position.
            viewers: Options of `Live` for those who see this generation.

        Raises:
            ChatError: The generation has failed before its first chunk.
        """
        answer = enclosed(partial(self._send, blocks), self._setup.viewer_layers)
        client = self._client
        await answer(self._options_for(viewers), client.scope, client.receive, client.send)

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
                is_bad = ending is not None and ending.outcome in _BAD_ENDS
                if is_bad and not self._client.has_started:
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

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:  # noqa: ARG002 - in the log
        """Encode nothing if the generation has ended, for its own end has been sent."""
        return b"" if self._has_ended else self._let_go()

    def fail(self, message: str, outcome: Outcome) -> bytes:  # noqa: ARG002 - one for all
        """Encode what tells that this connection ends."""
        return self._let_go()

    def _let_go(self) -> bytes:
        return self._words.let_go(MESSAGES[Outcome.SHUT_DOWN], self._last)
