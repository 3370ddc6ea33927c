"""One request for an answer: it is read, and answered with a stream or with one object."""

from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.chat.answer import Answer, json_answer, read_body
from sse_asgi.chat.body import Body
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.dialect import Dialect, MakeWhole, Order
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.setup import Chunks, Setup, StreamOptions
from sse_asgi.chat.unseen import UnseenStream
from sse_asgi.source.request import Request
from sse_asgi.stream.failure import MESSAGES
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

Source: TypeAlias = Callable[[Request], Chunks | Awaitable[Chunks]]

_NO_MODEL: Final = "unknown"


class Exchange:
    """Answers one request in one dialect."""

    def __init__(
        self, setup: Setup, dialect: Dialect, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._setup = setup
        self._dialect = dialect
        self._scope = scope
        self._receive = receive
        self._send = send
        self._has_started = False

    async def run(self) -> None:
        """Answer, also where the request is wrong."""
        request = Request(self._scope, max_body_size=self._setup.max_body_size)
        try:
            body = await read_body(request, self._receive)
            if body is None:
                return
            principal = await self._setup.principal_of(request)
            order = self._dialect.read(Body(body))
            model = await self._setup.models.choose(order.model)
            chat = self._chat(order, model, principal, request)
            framing = order.framing(model or _NO_MODEL)
            streams = order.whole is None
            options = await self._setup.admit(chat, streams=streams)  # last: it takes a place
        except Exception as error:  # noqa: BLE001 - of the client's making, or of the user's
            await self._refuse(error)
            return
        source = self._source(chat, body)
        if order.whole is None:
            await self._stream(chat, source, framing, options)
        else:
            unseen = UnseenStream(self._setup, chat, source, framing, options)
            await self._answer_whole(unseen, order.whole)

    def _chat(self, order: Order, model: str, principal: object | None, request: Request) -> Chat:
        return Chat(
            messages=order.messages,
            model=model,
            tools=order.tools,
            options=order.options,
            principal=principal,
            request=request,
            dialect=self._dialect.name,
        )

    def _source(self, chat: Chat, body: bytes) -> Source:
        def generate(request: Request) -> Chunks | Awaitable[Chunks]:
            # The stream's own sees the client leave. The server gives the body only once.
            request.feed({"type": "http.request", "body": body, "more_body": False})
            chat.request = request
            return self._setup.generate(chat)

        return generate

    async def _stream(
        self, chat: Chat, source: Source, framing: Framing, options: StreamOptions
    ) -> None:
        stream = EventStream(
            source,
            framing=framing,
            on_complete=self._setup.for_hook(chat),
            **options,
        )
        try:
            await stream(self._scope, self._receive, self._send_of_stream)
        except Exception as error:
            if self._has_started:
                raise
            await self._refuse(error)

    async def _send_of_stream(self, message: Message) -> None:
        self._has_started = True
        await self._send(message)

    async def _answer_whole(self, unseen: UnseenStream, whole: MakeWhole) -> None:
        try:
            await unseen.run(self._scope, self._receive)
            answer = self._answer_of(unseen, whole)
            if answer is not None:
                await answer.send(self._send, self._setup.headers)
        finally:
            await unseen.report()

    def _answer_of(self, unseen: UnseenStream, whole: MakeWhole) -> Answer | None:
        """Return the answer of a stream that has ended, None if its client has left."""
        transcript = unseen.transcript
        if transcript is None or transcript.outcome is Outcome.DISCONNECTED:
            return None
        if transcript.outcome is Outcome.SHUT_DOWN:
            return self._dialect.refusal(ChatError(503, MESSAGES[Outcome.SHUT_DOWN], retry_after=1))
        if unseen.error is not None:
            return self._dialect.refusal(unseen.error)
        return json_answer(whole(unseen.framing, transcript))

    async def _refuse(self, error: Exception) -> None:
        answer = self._dialect.refusal(self._setup.as_chat_error(error))
        await answer.send(self._send, self._setup.headers)
