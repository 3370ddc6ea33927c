"""Where clients come back for an answer, or have it stopped: the addresses that they know."""

import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from sse_asgi.asgi import Message, Receive, Scope, Send, path_below_mount
from sse_asgi.chat.ag_ui import AGUIDialect
from sse_asgi.chat.ai_sdk import UIMessagesDialect
from sse_asgi.chat.answer import read_body
from sse_asgi.chat.client import Client
from sse_asgi.chat.dialect import Dialect
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.lasting import LastingAnswers
from sse_asgi.chat.openai import ResponsesDialect
from sse_asgi.chat.owner import key_of, owner_of
from sse_asgi.chat.setup import Setup
from sse_asgi.source.request import Request

Route: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]

_PATH: Final = re.compile(
    r"(?:^|/)(?:ai-sdk/(?P<show_chat>.+)/stream|ai-sdk/(?P<stop_chat>.+)/stop"
    r"|responses/(?P<show_response>[^/]+)|responses/(?P<cancel_response>[^/]+)/cancel"
    r"|ag-ui/(?P<stop_run>.+)/stop|(?P<show_run>ag-ui))/?$"
)
_AI_SDK: Final = UIMessagesDialect()
_RESPONSES: Final = ResponsesDialect()
_AG_UI: Final = AGUIDialect()


class _Address(NamedTuple):
    """What is done at one address."""

    dialect: Dialect
    method: str
    do: Callable[[str, str | None, Client], Awaitable[None]]


class Resuming:
    """Answers those who come back.

    Args:
        lasting: The answers.
        setup: What the user gave to the `ChatApp`.
    """

    def __init__(self, lasting: LastingAnswers, setup: Setup) -> None:
        self._lasting = lasting
        self._setup = setup
        self._addresses = {
            "show_chat": _Address(_AI_SDK, "GET", self._show_chat),
            "stop_chat": _Address(_AI_SDK, "POST", self._stop_chat),
            "show_response": _Address(_RESPONSES, "GET", self._show_response),
            "cancel_response": _Address(_RESPONSES, "POST", lasting.cancel_response),
            "show_run": _Address(_AG_UI, "GET", self._show_run),
            "stop_run": _Address(_AG_UI, "POST", self._stop_run),
        }

    def route(self, scope: Scope) -> Route | None:
        """Return what answers a request, None if the address is none of these."""
        found = _PATH.search(path_below_mount(scope))
        if found is None or found.lastgroup is None:
            return None
        address, name = self._addresses[found.lastgroup], found[found.lastgroup]
        return partial(self._answer, address, name)

    async def _answer(
        self, address: _Address, name: str, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["method"] != address.method:
            refusal = address.dialect.refusal(ChatError(405, f"Use {address.method}."))
            allow = (b"allow", address.method.encode())
            await refusal.send(send, (*self._setup.headers, allow))
            return
        has_started = False

        async def note_start(message: Message) -> None:
            nonlocal has_started
            has_started = True
            await send(message)

        try:
            request = Request(scope, max_body_size=self._setup.max_body_size)
            if await read_body(request, receive) is None:
                return
            owner = owner_of(await self._setup.principal_of(request))
            with self._lasting.told():
                await address.do(name, owner, Client(scope, receive, note_start))
        except Exception as error:
            if has_started:
                raise
            refusal = address.dialect.refusal(self._setup.as_chat_error(error))
            await refusal.send(send, self._setup.headers)

    async def _show_chat(self, name: str, owner: str | None, client: Client) -> None:
        if not await self._lasting.show_chat(name, owner, client):
            await self._send_nothing(client)

    async def _stop_chat(self, name: str, owner: str | None, client: Client) -> None:
        await self._lasting.stop_chat(name, owner)
        await self._send_nothing(client)

    async def _show_run(self, _: str, owner: str | None, client: Client) -> None:
        query = Request(client.scope).query_params
        if not query.get("runId"):
            raise InvalidRequestError("runId", "'runId' is missing: it must be a string.")
        if query.get("offset", "-1") != "-1":
            message = "'offset' must be -1: a 'Last-Event-ID' tells where to go on."
            raise InvalidRequestError("offset", message)
        await self._lasting.show_run(key_of("run", owner, query["runId"]), owner, client)

    async def _stop_run(self, name: str, owner: str | None, client: Client) -> None:
        await self._lasting.stop(key_of("run", owner, name), owner)
        await self._send_nothing(client)

    async def _show_response(self, name: str, owner: str | None, client: Client) -> None:
        query = Request(client.scope).query_params
        streams = query.get("stream", "false")
        if streams not in ("true", "false"):
            raise InvalidRequestError("stream", "'stream' must be true or false.")
        await self._lasting.show_response(
            name, owner, client, streams=streams == "true", number=_number_in(query)
        )

    async def _send_nothing(self, client: Client) -> None:
        fields = [(b"cache-control", b"no-store"), *self._setup.headers]
        await client.send({"type": "http.response.start", "status": 204, "headers": fields})
        await client.send({"type": "http.response.body", "body": b""})


def _number_in(query: dict[str, str]) -> int | None:
    given = query.get("starting_after")
    if given is None:
        return None
    if not (given.isascii() and given.isdigit() and len(given) < 16):
        message = "'starting_after' must be the sequence_number of an event."
        raise InvalidRequestError("starting_after", message)
    return int(given)
