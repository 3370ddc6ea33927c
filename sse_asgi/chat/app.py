"""ChatApp: one generator behind the addresses that every kind of client knows."""

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Unpack

from sse_asgi.asgi import Receive, Scope, Send, path_below_mount
from sse_asgi.chat.client import Client, json_answer
from sse_asgi.chat.dialects import DIALECTS, OPENAI, Address
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.exchange import Exchange
from sse_asgi.chat.models import ModelsInput, model_list, model_object
from sse_asgi.chat.setup import Authorize, Generate, OnChatComplete, Setup, StreamOptions
from sse_asgi.other_scopes import answer_other

if TYPE_CHECKING:
    from sse_asgi.chat.lasting import LastingAnswers
    from sse_asgi.live import Live

_PATH: Final = re.compile(
    rf"(?:^|/)(?:(?P<dialect>{'|'.join(DIALECTS)})|(?P<models>models)|models/(?P<model>.+?)"
    r"|ai-sdk/(?P<chat>.+)/stream|ai-sdk/(?P<stop_chat>.+)/stop|ag-ui/(?P<stop_run>.+)/stop"
    r"|responses/(?P<response>[^/]+)|responses/(?P<cancel_response>[^/]+)/cancel)/?$"
)
"""What is at an address, as the name of a group, which holds the client's name for it."""


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
        self._addresses: dict[str, Address] = {
            "models": Address(OPENAI, {"GET": self._list_models, "HEAD": self._list_models}),
            "model": Address(OPENAI, {"GET": self._show_model, "HEAD": self._show_model}),
            **{path: Address(each, {"POST": self._exchange}) for path, each in DIALECTS.items()},
        }
        if live is not None:
            self._last_with(live)

    def _last_with(self, live: "Live") -> None:
        # What knows generations is imported where it is used.
        from sse_asgi.chat.lasting import LastingAnswers  # noqa: PLC0415
        from sse_asgi.chat.resuming import Resuming  # noqa: PLC0415

        resuming = Resuming(live, self._setup)
        self._lasting = LastingAnswers(live, self._setup, resuming)
        resuming.add_to(self._addresses)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        client = Client(scope, receive, send, self._setup.max_body_size, self._setup.headers)
        found = _PATH.search(path_below_mount(scope))
        key = name = ""
        if found is not None and found.lastgroup is not None:
            key, name = found.lastgroup, found[found.lastgroup]
        address = self._addresses.get(name if key == "dialect" else key)
        if address is None:
            refusal = OPENAI.refusal(ChatError(404, "There is nothing at this address."))
            await refusal.send(client)
        else:
            await self._answer(address, name, client)

    async def _answer(self, address: Address, name: str, client: Client) -> None:
        act = address.acts.get(client.scope["method"])
        if act is None:
            first, *_ = address.acts
            refusal = address.dialect.refusal(ChatError(405, f"Use {first}."))
            allow = {**refusal.headers, "allow": ", ".join(address.acts)}
            await replace(refusal, headers=allow).send(client)
            return
        try:
            if await client.read_body():
                if act == self._exchange:
                    client.check_sends_json()
                client.principal = await self._setup.principal_of(client.request)
                await act(client, name)
        except Exception as error:
            if client.has_started:
                raise
            await address.dialect.refusal(self._setup.as_chat_error(error)).send(client)

    async def _exchange(self, client: Client, path: str) -> None:
        await Exchange(self._setup, DIALECTS[path], client, lasting=self._lasting).run()

    async def _list_models(self, client: Client, _: str) -> None:
        await json_answer(model_list(await self._setup.models.names())).send(client)

    async def _show_model(self, client: Client, name: str) -> None:
        await json_answer(model_object(await self._setup.models.choose(name))).send(client)
