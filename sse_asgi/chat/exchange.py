"""One request for an answer: it is read, and answered with a stream or with one object."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.chat.answer import Answer, check_sends_json, read_body
from sse_asgi.chat.body import Body
from sse_asgi.chat.chat import Chat
from sse_asgi.chat.client import Client
from sse_asgi.chat.dialect import Dialect, MakeWhole, Order
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.noticing import Noticing
from sse_asgi.chat.setup import Chunks, Setup, StreamOptions
from sse_asgi.chat.unseen import UnseenStream
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
        self,
        setup: Setup,
        dialect: Dialect,
        scope: Scope,
        receive: Receive,
        send: Send,
        *,
        lasting: "LastingAnswers | None" = None,
    ) -> None:
        self._setup = setup
        self._dialect = dialect
        self._scope = scope
        self._receive = receive
        self._send = send
        self._lasting = lasting
        self._has_started = False

    async def run(self) -> None:
        """Answer, also where the request is wrong."""
        request = Request(self._scope, max_body_size=self._setup.max_body_size)
        try:
            raw = await read_body(request, self._receive)
            if raw is None:
                return
            check_sends_json(request)
            principal = await self._setup.principal_of(request)
            body = Body(raw)
            order = self._dialect.read(body)
            self._check_can_last(order)
            chat = Chat(
                messages=order.messages,
                model=await self._setup.models.choose(body.text("model")),
                tools=body.objects("tools"),
                options=body.others(order.messages_in, "model", "tools"),
                principal=principal,
                request=request,
                dialect=self._dialect.name,
            )
            framing = order.framing(chat.model or _NO_MODEL)
            lasting = None if order.named is None else self._lasting
            options: StreamOptions = {}
            if lasting is None:  # last: it takes a place
                options = await self._setup.admit(chat, streams=order.whole is None)
        except Exception as error:  # noqa: BLE001 - of the client's making, or of the user's
            await self._refuse(error)
            return
        if lasting is not None:
            await self._let_last(lasting, order, chat, framing)
            return
        source = self._source(chat, raw)
        if order.whole is None:
            await self._stream(chat, source, framing, options)
        else:
            unseen = UnseenStream(self._setup, chat, source, framing, options)
            await self._answer_whole(unseen, order.whole)

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

    async def _stream(
        self, chat: Chat, source: Source, framing: Framing, options: StreamOptions
    ) -> None:
        noticing = Noticing(framing)
        stream = EventStream(
            source,
            framing=noticing,
            on_complete=self._setup.for_hook(chat),
            **options,
        )
        try:
            await stream(self._scope, self._receive, self._sender_of(noticing))
        except Exception as error:
            if self._has_started:
                raise
            await self._refuse(error)

    def _sender_of(self, noticing: Noticing) -> Send:
        async def send(message: Message) -> None:
            is_refused = noticing.was_shut_down and not self._has_started
            if is_refused and message.get("more_body", True):
                return  # the hook is told before the last message
            self._has_started = True
            if is_refused:
                await self._shut_down().send(self._send, self._setup.headers)
            else:
                await self._send(message)

        return send

    async def _let_last(
        self, lasting: "LastingAnswers", order: Order, chat: Chat, framing: Framing
    ) -> None:
        """Answer with what goes on without the client."""

        async def send(message: Message) -> None:
            self._has_started = True
            await self._send(message)

        try:
            client = Client(self._scope, self._receive, send)
            await lasting.answer(order, chat, framing, client)
        except Exception as error:
            if self._has_started:
                raise
            await self._refuse(error)

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
            return self._shut_down()
        if unseen.error is not None:
            return self._dialect.refusal(unseen.error)
        return Answer(200, whole(unseen.kept))

    def _shut_down(self) -> Answer:
        return self._dialect.refusal(ChatError(503, MESSAGES[Outcome.SHUT_DOWN], retry_after=1))

    async def _refuse(self, error: Exception) -> None:
        answer = self._dialect.refusal(self._setup.as_chat_error(error))
        await answer.send(self._send, self._setup.headers)
