"""One request for an answer: it is read, and answered with a stream or with one object."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

import anyio.lowlevel

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Send
from sse_asgi.chat.body import Body
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.client import Answer, Client
from sse_asgi.chat.dialects import Dialect, MakeWhole, Order
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.framings import Kept, Noticing
from sse_asgi.chat.setup import Chunks, Setup, StreamOptions
from sse_asgi.source.request import Request
from sse_asgi.stream.failure import MESSAGES
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

if TYPE_CHECKING:
    from sse_asgi.chat.lasting import LastingAnswers

Source: TypeAlias = Callable[[Request], Chunks | Awaitable[Chunks]]

_NO_MODEL: Final = "unknown"


class Exchange:
    """Answers one request in one dialect."""

    def __init__(
        self, setup: Setup, dialect: Dialect, client: Client, *, lasting: "LastingAnswers | None"
    ) -> None:
        self._setup = setup
        self._dialect = dialect
        self._client = client
        self._lasting = lasting
        self._error: ChatError | None = None

    async def run(self) -> None:
        """Answer.

        Raises:
            Exception: The request is wrong, or the user's function raised. The client is told of it
                unless something was sent.
        """
        raw = await self._client.request.body()
        body = Body(raw)
        order = self._dialect.read(body)
        self._check_can_last(order)
        chat = Chat(
            messages=order.messages,
            model=await self._setup.models.choose(body.text("model")),
            tools=body.objects("tools"),
            options=body.others(order.messages_in, "model", "tools"),
            principal=self._client.principal,
            request=self._client.request,
            dialect=self._dialect.name,
        )
        framing = order.framing(chat.model or _NO_MODEL)
        if order.named is not None and self._lasting is not None:
            await self._lasting.answer(order, chat, framing, self._client)
            return
        options = await self._setup.admit(chat, streams=order.whole is None)  # last: takes a place
        source = self._source(chat, raw)
        if order.whole is None:
            noticing = Noticing(framing)
            await self._run(chat, source, noticing, self._send_stream(noticing), options)
        else:
            kept = Kept(framing)
            send = self._send_whole(kept, order.whole)
            await self._run(chat, source, kept, send, self._options_of_whole(options))

    def _check_can_last(self, order: Order) -> None:
        param = order.needs_live
        if param is not None and self._lasting is None:
            raise InvalidRequestError(param, f"'{param}' must be false.")

    def _source(self, chat: Chat, body: bytes) -> Source:
        def generate(request: Request) -> Chunks | Awaitable[Chunks]:
            # The stream's own sees the client leave. The server gives the body only once.
            request.feed({"type": "http.request", "body": body, "more_body": False})
            chat.request = request
            return self._setup.generate(chat)

        return generate

    async def _run(
        self, chat: Chat, source: Source, framing: Framing, send: Send, options: StreamOptions
    ) -> None:
        hook = self._setup.for_hook(chat)
        stream = EventStream(source, framing=framing, on_complete=hook, **options)
        await stream(self._client.scope, self._client.receive, send)

    def _send_stream(self, noticing: Noticing) -> Send:
        async def send(message: Message) -> None:
            if self._client.has_started or not noticing.was_shut_down:
                await self._client.send(message)
            elif not message.get("more_body", True):  # the hook is told before the last message
                await self._shut_down().send(self._client)

        return send

    def _options_of_whole(self, options: StreamOptions) -> StreamOptions:
        options = options.copy()
        options["heartbeat"] = None
        options["prefetch"] = True
        options["compress"] = ()
        options["describe_error"] = self._note
        return options

    def _note(self, error: BaseException) -> str:
        """Keep what the client may know of a failure, which the stream logs."""
        self._error = self._setup.as_chat_error(error, is_logged=True)
        return self._error.message

    def _send_whole(self, kept: Kept, whole: MakeWhole) -> Send:
        async def send(message: Message) -> None:
            if message.get("more_body", True):
                await anyio.lowlevel.checkpoint()
            elif kept.was_shut_down:
                await self._shut_down().send(self._client)
            elif self._error is not None:
                await self._dialect.refusal(self._error).send(self._client)
            else:
                await Answer(200, whole(kept)).send(self._client)

        return send

    def _shut_down(self) -> Answer:
        return self._dialect.refusal(ChatError(503, MESSAGES[Outcome.SHUT_DOWN], retry_after=1))
