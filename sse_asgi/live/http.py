"""What `Live` and `Generation` answer over HTTP."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final, cast
from urllib.parse import unquote_plus

from sse_asgi.asgi import Receive, Scope, Send, path_below_mount
from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live.events import has_seen_all, position_of
from sse_asgi.live.generation import meta_of
from sse_asgi.live.generations import Generations
from sse_asgi.live.log import Head
from sse_asgi.live.viewing import Viewing
from sse_asgi.source.request import Request
from sse_asgi.source.source import Chunks, SourceOpener
from sse_asgi.stream.options import Options, check_int, wrong_type
from sse_asgi.stream.other_scopes import answer_other
from sse_asgi.stream.response import Response
from sse_asgi.wire.events import MAX_RECONNECTION_TIME
from sse_asgi.wire.framing import Framing

Authorize = Callable[[Scope, str, str | None], Awaitable[bool] | bool]

_QUERY_CURSOR: Final = re.compile(rb"(?:^|&)last_event_id=([^&]{0,64})(?=&|$)")
_logger = logging.getLogger("sse_asgi")


class Answers:
    """Answers requests for generations. `authorize` and `retry` are those of `Live`.

    Raises:
        TypeError: `authorize` cannot be called so, or `retry` is no int.
        ValueError: `retry` is out of bounds.
    """

    def __init__(
        self,
        generations: Generations,
        *,
        authorize: Authorize | None,
        retry: int | None,
        viewing: Viewing,
    ) -> None:
        _check_authorize(authorize)
        if retry is not None:
            check_int("retry", retry, lowest=0, highest=MAX_RECONNECTION_TIME)
        self.generations: Generations = generations
        self._viewing = viewing
        self._authorize = authorize
        self._first_line = b"" if retry is None else b"retry: %d\n" % retry
        self._has_warned = False

    async def route(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request for the id below the mount, for whoever may see that generation."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
        elif scope["method"] not in ("GET", "HEAD", "DELETE"):
            await _answer(send, 405, (b"allow", b"GET, HEAD, DELETE"))
        else:
            key = path_below_mount(scope).removeprefix("/").removesuffix("/")
            await self._serve(key, scope, receive, send)

    async def serve(
        self, key: str, framing: Framing, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Follow one generation, for whoever was let through to here."""
        if scope["type"] != "http":
            await answer_other(scope, receive, send)
        else:
            await self._serve(key, scope, receive, send, framing=framing)

    def options_for(self, key: str, head: Head) -> Options:
        """Return the options of a response to a viewer of a generation."""
        runs_here = self.generations.runs_here(key, head)
        return self._viewing.here if runs_here else self._viewing.elsewhere

    async def _serve(
        self, key: str, scope: Scope, receive: Receive, send: Send, framing: Framing | None = None
    ) -> None:
        routed = framing is None
        stops = routed and scope["method"] == "DELETE"
        try:
            head = await self.generations.look(key)
            if head is None or (routed and not await self._may(scope, key, head, stops=stops)):
                await _answer(send, 404)
                return
            if stops:
                await self.generations.stop(key, head)
                await _answer(send, 204)
                return
        except LogError as error:
            self.generations.outage.note(error)
            later = [(b"retry-after", b"5")] if isinstance(error, LogUnavailableError) else []
            await _answer(send, 503, *later)
            return
        await self._follow(key, head, scope, receive, send, framing=framing)

    async def _may(self, scope: Scope, key: str, head: Head, *, stops: bool) -> bool:
        meta = meta_of(head)
        if self._authorize is not None:
            return await self._decide(self._authorize, scope, key, meta.owner)
        if stops and meta.chosen and meta.owner is None:
            self._warn_once()
            return False
        return meta.owner is None

    async def _decide(
        self, authorize: Authorize, scope: Scope, key: str, owner: str | None
    ) -> bool:
        decision: object = authorize(scope, key, owner)
        if inspect.isawaitable(decision):
            decision = await decision
        if isinstance(decision, bool):
            return decision
        kind = type(decision).__qualname__
        error = TypeError(f"authorize must return a bool, not of type {kind}")
        _logger.error("a request for a live generation is refused", exc_info=error)
        return False

    def _warn_once(self) -> None:
        if not self._has_warned:
            self._has_warned = True
            _logger.warning(
                "a DELETE is refused, for its id was chosen by the application and others may be "
                "able to guess it: pass authorize to Live, or call live.stop"
            )

    async def _follow(
        self, key: str, head: Head, scope: Scope, receive: Receive, send: Send, *,
        framing: Framing | None,
    ) -> None:  # fmt: skip
        request = Request(scope)
        after = position_of(_cursor(request), head.token)
        if has_seen_all(head, after):
            await _answer(send, 204)
            return
        options = self.options_for(key, head)
        headers = options.headers
        if framing is not None:
            headers = self._viewing.headers_for(framing.headers)
        headers = (*headers, (b"generation-id", key.encode()))
        options = options.with_start(options.status, headers)

        def show(options: Options, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["method"] == "HEAD":  # it says what GET would say first
                return _answer(send, options.status, *options.headers)
            blocks = self.generations.view(key, head, after, self._first_line)
            opener = SourceOpener(cast("Chunks", blocks))  # its chunks are encoded already
            return Response(opener, options, request, receive, send).answer()

        answer = self._viewing.around(show, meta_of(head).framing)
        await answer(options, scope, receive, send)


def _check_authorize(authorize: object) -> None:
    """Check that this can be called with the scope, the id and its owner, or is None."""
    if authorize is None:
        return
    if not callable(authorize):
        raise wrong_type("authorize", authorize, "a callable or None")
    try:
        inspect.signature(authorize).bind(None, None, None)
    except ValueError:  # a builtin that does not tell what it takes: the call will
        pass
    except TypeError as error:
        raise TypeError(
            "authorize cannot be called with three arguments, the scope, the id and its owner: "
            f"{error}; give it a parameter for each"
        ) from None


def _cursor(request: Request) -> str:
    """Return the cursor that a viewer sends. The header is newer: a browser repeats its URL."""
    header = request.headers.get("last-event-id")
    if header is not None:
        return header
    # Not parsed: a query may be of any length, and nothing else of it is of interest.
    found = _QUERY_CURSOR.findall(request.scope.get("query_string", b""))
    return unquote_plus(found[-1].decode("latin-1")) if found else ""


async def _answer(send: Send, status: int, *headers: tuple[bytes, bytes]) -> None:
    """Answer without a body."""
    fields = [*headers]
    if not any(name == b"cache-control" for name, _ in fields):
        fields.append((b"cache-control", b"no-store"))
    if status >= 400:
        fields.append((b"content-length", b"0"))
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
