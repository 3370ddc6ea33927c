"""What `Live` and `Generation` answer over HTTP."""

import inspect
from collections.abc import Awaitable, Callable
from typing import Final

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.frames import encoder, has_seen_all, position_of
from sse_asgi.live.log import Head
from sse_asgi.live.viewing import Viewing, owner_of
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener
from sse_asgi.stream.options import Options
from sse_asgi.stream.other_scopes import answer_other
from sse_asgi.stream.response import respond

Authorize = Callable[[Scope, str, str | None], Awaitable[bool] | bool]
Stop = Callable[[str, Head], Awaitable[bool]]

_UNAVAILABLE: Final = 503


class Answers:
    """Answers requests for generations.

    Args:
        viewing: Finds them.
        stop: Stops one.
        options: Of the responses to viewers.
        authorize: Decides who may follow or stop; None: whatever has no owner is open to all.
        retry: The reconnection time that viewers are told, in milliseconds.
    """

    def __init__(
        self,
        viewing: Viewing,
        stop: Stop,
        options: Options,
        *,
        authorize: Authorize | None,
        retry: int | None,
    ) -> None:
        self._viewing = viewing
        self._stop = stop
        self._options = options
        self._authorize = authorize
        self._retry = retry

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path ends with the id, for whoever may see that generation."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        method = scope["method"]
        if method not in ("GET", "HEAD", "DELETE"):
            await _answer(send, 405, (b"allow", b"GET, HEAD, DELETE"))
            return
        key = scope["path"].rstrip("/").rpartition("/")[2]
        try:
            head = await self._viewing.look(key)
            if head is None or not await self._may(scope, key, head):
                await _answer(send, 404)
            elif method == "DELETE":
                await self._stop(key, head)
                await _answer(send, 204)
            else:
                await self._follow(key, head, scope, receive, send)
        except LogUnavailableError:
            await _answer(send, _UNAVAILABLE, (b"retry-after", b"5"))

    async def serve(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow one generation, for whoever was let through to here."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
            return
        try:
            head = await self._viewing.look(key)
        except LogUnavailableError:
            await _answer(send, _UNAVAILABLE, (b"retry-after", b"5"))
            return
        if head is None:
            await _answer(send, 404)
        else:
            await self._follow(key, head, scope, receive, send)

    async def _may(self, scope: Scope, key: str, head: Head) -> bool:
        owner = owner_of(head)
        if self._authorize is None:
            return owner is None
        decision = self._authorize(scope, key, owner)
        allowed = await decision if inspect.isawaitable(decision) else decision
        return allowed is True

    async def _follow(
        self, key: str, head: Head, scope: Scope, receive: Receive, send: Send
    ) -> None:
        request = Request(scope)
        after = position_of(_cursor(request), head.token)
        if has_seen_all(head, after):
            await _answer(send, 204)
            return
        headers = (*self._options.headers, (b"generation-id", key.encode()))
        if scope["method"] == "HEAD":
            await _answer(send, self._options.status, *headers)
            return
        options = self._options.with_start(self._options.status, headers)
        encode = encoder(head.token, retry=self._retry)
        opener = SourceOpener(self._viewing.read(key, head, after, encode))
        await respond(opener, options, request, receive, send)


def _cursor(request: Request) -> str:
    """Return the cursor that a viewer sends. The header is newer: a browser repeats its URL."""
    header = request.headers.get("last-event-id")
    return request.query_params.get("last_event_id", "") if header is None else header


async def _answer(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    """Answer without a body."""
    fields = [*headers]
    if not any(name == b"cache-control" for name, _ in fields):
        fields.append((b"cache-control", b"no-store"))
    if status >= 400:
        fields.append((b"content-length", b"0"))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
