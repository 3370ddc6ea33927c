"""ChatApp: one generator behind the addresses that every kind of client knows."""

import re
from typing import TYPE_CHECKING, Final, Unpack

from sse_asgi.asgi import Receive, Scope, Send, path_below_mount
from sse_asgi.chat.ag_ui import AGUIDialect
from sse_asgi.chat.ai_sdk import UIMessagesDialect
from sse_asgi.chat.answer import Answer, json_answer, read_body
from sse_asgi.chat.anthropic import AnthropicMessagesDialect
from sse_asgi.chat.dialect import Dialect
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.exchange import Exchange
from sse_asgi.chat.models import ModelsInput, model_list, model_object
from sse_asgi.chat.openai import ChatCompletionsDialect, ResponsesDialect, refusal
from sse_asgi.chat.setup import Authorize, Generate, OnChatComplete, Setup, StreamOptions
from sse_asgi.source.request import Request
from sse_asgi.stream.other_scopes import answer_other

if TYPE_CHECKING:
    from sse_asgi.chat.lasting import LastingAnswers
    from sse_asgi.chat.resuming import Resuming
    from sse_asgi.live import Live

_DIALECTS: Final[dict[str, Dialect]] = {
    "chat/completions": ChatCompletionsDialect(),
    "responses": ResponsesDialect(),
    "messages": AnthropicMessagesDialect(),
    "ai-sdk": UIMessagesDialect(),
    "ag-ui": AGUIDialect(),
}
_PATH: Final = re.compile(
    rf"(?:^|/)(?:(?P<dialect>{'|'.join(_DIALECTS)})|models(?:/(?P<model>.+?))?)/?$"
)


class ChatApp:
    """Serve one generator to the clients of OpenAI, Anthropic, AI SDK and AG-UI.

    An ASGI application, mounted anywhere. It answers `POST /chat/completions`, `/responses`,
    `/messages`, `/ai-sdk` and `/ag-ui`, and `GET /models` and `/models/{id}`, all of them below
    `/v1`, too. Errors have the shape that the client of the address reads.

    The status waits for the first chunk, for one `heartbeat` at most: a failure until then is an
    HTTP error, a later one is an event. An exception of the generator is logged, and the client is
    told the message of a `ChatError` alone. A client that leaves cancels the generator, also where
    it does not stream.

    Args:
        generate: Called with the `Chat`; an async generator function of text and parts, or another
            function that returns a source of `EventStream`.
        models: The names of the models, or an async function that returns them. A client that
            asks for another is told that there is none. `None`: any name will do.
        authorize: Called with the `Request`, sync or async. What it returns is `Chat.principal`;
            `None` or `False` refuses the client, with 401. `ChatError` refuses in other ways.
        on_complete: As for `EventStream`; a second argument is the `Chat`.
        live: Where answers run that go on without their client, and that it can come back for or
            stop: those of AI SDK and AG-UI, and of OpenAI's clients those with `background`. They
            belong to the user whose id `authorize` returns; with `True`, to everybody.
        **options: As for `EventStream`. `prefetch` is one `heartbeat` unless given.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        generate: Generate,
        *,
        models: ModelsInput = None,
        authorize: Authorize | None = None,
        on_complete: OnChatComplete | None = None,
        live: "Live | None" = None,
        **options: Unpack[StreamOptions],
    ) -> None:
        self._setup = Setup(generate, models, authorize, on_complete, options)
        self._lasting: LastingAnswers | None = None
        self._resuming: Resuming | None = None
        if live is not None:
            self._last_with(live)

    def _last_with(self, live: "Live") -> None:
        # What knows generations is imported where it is used.
        from sse_asgi.chat.lasting import LastingAnswers  # noqa: PLC0415
        from sse_asgi.chat.resuming import Resuming  # noqa: PLC0415

        self._lasting = LastingAnswers(live, self._setup)
        self._resuming = Resuming(self._lasting, self._setup)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        route = _PATH.search(path_below_mount(scope))
        is_known = route is not None and (route["dialect"] != "ag-ui" or scope["method"] != "GET")
        again = None if is_known or self._resuming is None else self._resuming.route(scope)
        if again is not None:
            await again(scope, receive, send)
        elif route is None:
            answer = refusal(ChatError(404, "There is nothing at this address."))
            await self._send(answer, scope, send)
        elif route["dialect"] is None:
            await self._tell_models(route["model"], scope, receive, send)
        elif scope["method"] != "POST":
            answer = _DIALECTS[route["dialect"]].refusal(ChatError(405, "Use POST."))
            await self._send(answer, scope, send, allow="POST")
        else:
            dialect = _DIALECTS[route["dialect"]]
            exchange = Exchange(self._setup, dialect, scope, receive, send, lasting=self._lasting)
            await exchange.run()

    async def _tell_models(
        self, name: str | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["method"] not in ("GET", "HEAD"):
            answer = refusal(ChatError(405, "Use GET."))
            await self._send(answer, scope, send, allow="GET, HEAD")
            return
        setup = self._setup
        request = Request(scope, max_body_size=setup.max_body_size)
        try:
            if await read_body(request, receive) is None:
                return
            await setup.principal_of(request)
            answer = json_answer(
                model_list(await setup.models.names())
                if name is None
                else model_object(await setup.models.choose(name))
            )
        except Exception as error:  # noqa: BLE001 - of the user's functions
            answer = refusal(setup.as_chat_error(error))
        await self._send(answer, scope, send)

    async def _send(self, answer: Answer, scope: Scope, send: Send, *, allow: str = "") -> None:
        """Send an answer, without its body to HEAD (RFC 9110, 9.3.2)."""
        fields = self._setup.headers
        if allow:
            fields = (*fields, (b"allow", allow.encode()))
        await answer.send(send, fields, without_body=scope["method"] == "HEAD")
