"""Compression: content codings that let every event pass at once (RFC 9110, 8.4 and 12.5.3).

After each message the compressor is flushed, so no event waits for a later one. What a stream keeps
for that is bounded: some 36 KiB for gzip, some 110 KiB for zstd.
"""

import logging
import zlib
from collections.abc import Awaitable, Callable, Iterable
from importlib import import_module
from typing import Any, Final

from sse_asgi.around import Answer, Layer, check_codings
from sse_asgi.asgi import ASGIApp, Message, Receive, Scope, Send
from sse_asgi.headers import DEFAULT_HEADERS, HeadersInput, begins_event_stream, check_headers
from sse_asgi.stream.options import Options
from sse_asgi.wire.framing import Framing, JSONFraming, TextFraming

Fields = Iterable[tuple[bytes, bytes]]

_IN_VAIN: Final[dict[type, tuple[str, ...]]] = {
    TextFraming: ("zstd", "gzip"),
    JSONFraming: ("zstd",),
}
"""Codings that make a framing's events no smaller, or larger: docs/how-to/compression.md."""

_KEY: Final = "sse_asgi.compression"
_told: Final[set[type]] = set()
_logger = logging.getLogger("sse_asgi")


class Compression(Layer):
    """Compresses the event streams of an app, in a coding that the client takes.

    Args:
        codings: "zstd" and "gzip", the preferred one first.
        wraps: It stands around an app that makes its own streams, by `around`, too.

    Raises:
        ImportError: There is no zstd here.
    """

    option = "compress"
    kind = "tuple of codings"

    def __init__(self, codings: tuple[str, ...], *, wraps: bool = False) -> None:
        self._codings = codings
        self._wraps = wraps
        self._makers = {coding: _MAKERS[coding]() for coding in codings}

    async def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request, compressed if the client takes it."""
        coding = negotiated(scope["headers"], self._codings)
        make = (
            None if coding is None or forbids_transform(scope["headers"]) else self._makers[coding]
        )
        compressing = _CompressingSend(
            send, coding or "", make, wraps=self._wraps, is_head=scope["method"] == "HEAD"
        )
        if self._wraps:
            scope[_KEY] = compressing
        try:
            await answer(options, scope, receive, compressing)
        finally:
            scope.pop(_KEY, None)

    def around(self, app: ASGIApp) -> ASGIApp:
        """Return an app whose own `no-transform` is seen before the middleware adds one."""

        async def noticing(scope: Scope, receive: Receive, send: Send) -> None:
            compressing: _CompressingSend | None = scope.get(_KEY)
            await app(scope, receive, send if compressing is None else compressing.noticing(send))

        return noticing


class CompressionByFraming:
    """Compresses the streams of an app that has several framings, each as far as it gains by it.

    Args:
        compress: Codings, the preferred one first.
        headers: The user's.

    Raises:
        TypeError: `compress` is no tuple of names.
        ValueError: `compress` has another name, or `headers` forbid to compress.
        ImportError: There is no zstd here.
    """

    def __init__(self, compress: object, headers: HeadersInput | None) -> None:
        self._codings = check_compress(compress, headers)
        self._made: dict[tuple[str, ...], Compression] = {}
        self._made[self._codings] = Compression(self._codings)

    def of(self, framing: str) -> Compression | None:
        """Return what compresses streams of a framing, named by its class; None if that is vain."""
        kinds = {kind.__qualname__: kind for kind in _IN_VAIN}
        useful = _useful(self._codings, kinds[framing]) if framing in kinds else self._codings
        if useful not in self._made:
            self._made[useful] = Compression(useful)
        return self._made[useful] if useful else None


class _CompressingSend:
    """The `send` of one response."""

    __slots__ = ("_coding", "_is_forbidden", "_is_head", "_make", "_press", "_send", "_wraps")

    def __init__(
        self,
        send: Send,
        coding: str,
        make: "Callable[[], Press] | None",
        *,
        wraps: bool,
        is_head: bool,
    ) -> None:
        self._send = send
        self._coding = coding
        self._make = make
        self._wraps = wraps
        self._is_head = is_head
        self._is_forbidden = False
        self._press: Press | None = None

    def __call__(self, message: Message) -> Awaitable[None]:
        """Send a message, compressed; not a coroutine, for every chunk passes here."""
        if self._press is not None and message["type"] == "http.response.body":
            body, more = message.get("body", b""), message.get("more_body", False)
            if body or not more:
                message = {**message, "body": self._press(body, more)}
        elif begins_event_stream(message):
            message = self._begin(message)
        return self._send(message)

    def noticing(self, send: Send) -> Send:
        """Return an app's `send` that notices whether the app forbids to compress."""

        def notice(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                self._is_forbidden = forbids_transform(message.get("headers", ()))
            return send(message)

        return notice

    def _begin(self, message: Message) -> Message:
        fields = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
        if not self._wraps:  # the default is for proxies
            others = [field for field in fields if field not in DEFAULT_HEADERS]
            self._is_forbidden = forbids_transform(others)
        is_coded = any(name == b"content-encoding" for name, _ in fields)
        if not (is_coded or self._is_forbidden):
            fields.append((b"vary", b"accept-encoding"))
            if self._make is not None:
                fields.append((b"content-encoding", self._coding.encode()))
                self._press = None if self._is_head else self._make()
        return {**message, "headers": fields}


Press = Callable[[bytes, bool], bytes]
"""Compresses a message, and flushes; the second argument tells whether another comes."""


def negotiated(headers: Fields, codings: tuple[str, ...]) -> str | None:
    """Return the coding that a client takes best, the first of equals; `None`: it takes none.

    Args:
        headers: The request's; without `accept-encoding` no coding is taken.
        codings: Those that there are, the preferred one first.
    """
    weights: dict[str, float] = {}
    for name, value in headers:
        if bytes(name).lower() == b"accept-encoding":
            for element in bytes(value).decode("latin-1").lower().split(","):
                coding, _, parameter = element.partition(";")
                weights[coding.strip()] = _weight(parameter)
    weighed = [(weights.get(each, weights.get("*", 0.0)), each) for each in codings]
    weight, best = max(weighed, key=lambda each: each[0])
    return best if weight > 0 else None


def forbids_transform(headers: Fields) -> bool:
    """Tell whether header fields have the directive `no-transform` (RFC 9111, 5.2)."""
    return any(
        bytes(name).lower() == b"cache-control" and b"no-transform" in bytes(value).lower()
        for name, value in headers
    )


def check_compress(compress: object, headers: HeadersInput | None) -> tuple[str, ...]:
    """Return the codings of the option `compress`.

    Raises:
        TypeError: It is no tuple of names.
        ValueError: It has another name, or `headers` forbid to compress.
    """
    codings = check_codings(compress)
    if forbids_transform(check_headers(headers)):
        raise ValueError(
            f"compress={codings!r} contradicts no-transform in your header cache-control: leave "
            "one of them out"
        )
    return codings


def codings_for(codings: tuple[str, ...], framing: Framing) -> tuple[str, ...]:
    """Return those codings that make a framing's events smaller. If there are none, say so once."""
    return _useful(codings, type(framing))


def _useful(codings: tuple[str, ...], kind: type) -> tuple[str, ...]:
    useful = tuple(each for each in codings if each not in _IN_VAIN.get(kind, ()))
    if not useful and kind not in _told:
        _told.add(kind)
        _logger.warning("compress is off: %s's events get no smaller by it", kind.__name__)
    return useful


def _weight(parameter: str) -> float:
    name, _, value = parameter.strip().partition("=")
    if name.strip() != "q":
        return 1.0
    try:
        return float(value)
    except ValueError:
        return 0.0


def _gzip() -> Callable[[], Press]:
    def make() -> Press:
        # A window of 4 KiB holds some twenty events; 32 KiB would gain half a byte an event.
        compressor = zlib.compressobj(6, zlib.DEFLATED, 12 + 16, 5)

        def press(body: bytes, more: bool) -> bytes:  # noqa: FBT001 - called so by one place
            mode = zlib.Z_SYNC_FLUSH if more else zlib.Z_FINISH
            return compressor.compress(body) + compressor.flush(mode)

        return press

    return make


def _zstd() -> Callable[[], Press]:
    zstd = _find_zstd()
    parameter = zstd.CompressionParameter
    # With the defaults of level 3 a stream would keep 800 KiB.
    options = {
        parameter.compression_level: 3,
        parameter.window_log: 13,
        parameter.hash_log: 12,
        parameter.chain_log: 12,
    }

    def make() -> Press:
        compressor = zstd.ZstdCompressor(options=options)
        flush, end = compressor.FLUSH_BLOCK, compressor.FLUSH_FRAME

        def press(body: bytes, more: bool) -> bytes:  # noqa: FBT001 - called so by one place
            pressed: bytes = compressor.compress(body, flush if more else end)
            return pressed

        return press

    return make


def _find_zstd() -> Any:  # noqa: ANN401 - a module
    for name in ("compression.zstd", "backports.zstd"):  # the first is Python's, from 3.14 on
        try:
            return import_module(name)
        except ImportError:
            pass
    raise ImportError(
        "compress: zstd needs Python 3.14 or backports.zstd: pip install 'sse-asgi[zstd]', or "
        'leave it out, compress=("gzip",)'
    )


_MAKERS: Final = {"zstd": _zstd, "gzip": _gzip}
