"""What `Live` and `Generation` answer over HTTP."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import unquote_plus

from sse_asgi.around import Layer, check_layer, enclosed
from sse_asgi.asgi import Receive, Scope, Send, path_below_mount
from sse_asgi.checks import check_int, wrong_type
from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.headers import HeadersInput, make_headers
from sse_asgi.live.events import has_seen_all, position_of
from sse_asgi.live.generations import Generations
from sse_asgi.live.log import Head
from sse_asgi.live.record import meta_of
from sse_asgi.other_scopes import answer_other
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.source.request import Request
from sse_asgi.source.source import Chunks, SourceOpener, Stepper
from sse_asgi.stream.lifecycle import RUNNING
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import MAX_SIZE
from sse_asgi.stream.response import Response
from sse_asgi.wire.events import MAX_RECONNECTION_TIME
from sse_asgi.wire.framing import Framing, TextFraming

if TYPE_CHECKING:  # imported only if they are used
    from sse_asgi.limits import Limits
    from sse_asgi.telemetry import Telemetry

Authorize = Callable[[Scope, str, str | None], Awaitable[bool] | bool]

LAST_EVENT: Final = 1.0
"""Seconds by which viewers stay longer than their generation: so they see its end."""

_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")
_QUERY_CURSOR: Final = re.compile(rb"(?:^|&)last_event_id=([^&]{0,64})(?=&|$)")
_logger = logging.getLogger("sse_asgi")


class Answers:
    """Answers requests for generations. All but `generations` and `viewers` are as in `Live`.

    `viewers` are the options of the responses to viewers.
    """

    def __init__(
        self,
        generations: Generations,
        viewers: Options,
        *,
        authorize: Authorize | None,
        retry: int | None,
        headers: HeadersInput | None,
        drain: float,
        telemetry: "Telemetry | None",
        limits: "Limits | None",
        compress: tuple[str, ...],
    ) -> None:
        _check_authorize(authorize)
        if retry is not None:
            check_int("retry", retry, lowest=0, highest=MAX_RECONNECTION_TIME)
        check_layer("telemetry", telemetry, "Telemetry")
        check_layer("limits", limits, "Limits")
        self.generations: Generations = generations
        self._authorize = authorize
        self._first_line = b"" if retry is None else b"retry: %d\n" % retry
        self._has_warned = False
        # An iterator can be read but once.
        self._headers = tuple(headers) if isinstance(headers, Iterator) else headers
        self._elsewhere = viewers
        stays = viewers.shutdown
        if stays is not None:
            grace = max(stays.grace, drain + LAST_EVENT)
            stays = Shutdown(grace=grace, farewell=stays.farewell, signals=stays.signals)
        self._here = replace(viewers, shutdown=stays)
        self._headers_for(TextFraming())  # to check them
        watching = None if telemetry is None else telemetry.of_viewers()
        self._layers: tuple[Layer, ...] = tuple(
            layer for layer in (watching, limits) if layer is not None
        )
        self._compression = None
        if compress != ():
            from sse_asgi.compression import CompressionByFraming  # noqa: PLC0415 - only if used

            self._compression = CompressionByFraming(compress, self._headers)

    # What only passes an awaitable on is no coroutine: each costs every viewer for every chunk.

    def route(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer a request for the id below the mount, for whoever may see that generation."""
        if scope["type"] != "http":
            return answer_other(scope, receive, send)
        if scope["method"] not in ("GET", "HEAD", "DELETE"):
            return _answer(send, 405, (b"allow", b"GET, HEAD, DELETE"))
        key = path_below_mount(scope).removeprefix("/").removesuffix("/")
        return self._serve(key, None, scope, receive, send)

    def serve(
        self, key: str, framing: Framing, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[None]:
        """Follow one generation, for whoever was let through to here."""
        if scope["type"] != "http":
            return answer_other(scope, receive, send)
        return self._serve(key, framing, scope, receive, send)

    def options_for(self, key: str, head: Head) -> Options:
        """Return the options of a response; viewers of what runs here stay with it at a stop."""
        here = self.generations.writer_of(key, head) is not None
        return self._here if here else self._elsewhere

    async def _serve(
        self, key: str, framing: Framing | None, scope: Scope, receive: Receive, send: Send
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
            return await _decide(self._authorize, scope, key, meta.owner)
        if stops and meta.chosen and meta.owner is None:
            if not self._has_warned:
                self._has_warned = True
                _logger.warning(
                    "a DELETE is refused, for its id was chosen by the application and others may "
                    "be able to guess it: pass authorize to Live, or call live.stop"
                )
            return False
        return meta.owner is None

    def _follow(
        self, key: str, head: Head, scope: Scope, receive: Receive, send: Send, *,
        framing: Framing | None,
    ) -> Awaitable[None]:  # fmt: skip
        request = Request(scope)
        after = position_of(_cursor(request), head.token)
        if has_seen_all(head, after):
            return _answer(send, 204)

        def show(options: Options, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
            if scope["method"] == "HEAD":  # it says what GET would say first
                return _answer(send, options.status, *options.headers)
            blocks = cast("Chunks", self.generations.view(key, head, after))
            view = View(SourceOpener(blocks), options, request, receive, send)
            view.first_line = self._first_line
            return view.answer()

        headers = *self._headers_for(framing), (b"generation-id", key.encode())
        options = self.options_for(key, head)
        options = options.with_start(options.status, headers)
        layers = self._layers
        if self._compression and (fits := self._compression.of(meta_of(head).framing)):
            layers = *layers, fits
        return enclosed(show, layers)(options, scope, receive, send)

    def _headers_for(self, framing: Framing | None) -> tuple[tuple[bytes, bytes], ...]:
        demanded = (framing or TextFraming()).headers  # those of a text framing are none
        return (*make_headers(self._headers, demanded), _NOSNIFF)


class View(Response):
    """The response to one viewer. Its chunks are blocks.

    Each is sent as it is, and by itself: so all who are at its position hold the same bytes.
    """

    first_line: bytes  # comes before the first event

    async def _take(self, chunk: Any, on_chunk: object, source: Stepper) -> None:  # noqa: ANN401, ARG002 - the same for all chunks
        body: bytes = chunk.data
        if body and self.first_line:
            body, self.first_line = chunk.after_line(self.first_line), b""
        if self.sender.pending is not None:
            await self.pause(source)
        if self.lifecycle.phase is not RUNNING:
            self.outbox.put_event(body)
        elif body:
            message = {"type": "http.response.body", "body": body, "more_body": True}
            await self._send(message, source)
            if len(body) >= MAX_SIZE:
                self.arm()  # there may be many more, without a wait


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


async def _decide(authorize: Authorize, scope: Scope, key: str, owner: str | None) -> bool:
    decision: object = authorize(scope, key, owner)
    if inspect.isawaitable(decision):
        decision = await decision
    if isinstance(decision, bool):
        return decision
    kind = type(decision).__qualname__
    error = TypeError(f"authorize must return a bool, not of type {kind}")
    _logger.error("a request for a live generation is refused", exc_info=error)
    return False


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
