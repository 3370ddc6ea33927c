"""The request for an event stream, and what redirects make of it."""

import importlib
import importlib.util
import inspect
import json as jsonlib
import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from sse_asgi.checks import wrong_type
from sse_asgi.client.connection import Connection
from sse_asgi.client.response import EVENT_STREAM, lost, shown_url
from sse_asgi.errors import shown
from sse_asgi.headers import HeadersInput

T = TypeVar("T")

_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # no part of a value (RFC 9110, 5.5)
_DEFAULTS = {
    "accept": EVENT_STREAM,
    "cache-control": "no-cache",
    "accept-encoding": "gzip, deflate",  # what is read, whatever the library can decode
}
_HARMLESS = {  # they say nothing of who asks
    *("accept", "accept-encoding", "accept-language", "cache-control", "connection", "host"),
    *("content-encoding", "content-language", "content-length", "content-type"),
    *("last-event-id", "transfer-encoding", "user-agent"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent for each connection."""

    kind: type[Connection]
    client: Any
    method: str
    url: object  # a str, or the class of either library, which refuses the other's
    headers: Any
    content: str | bytes | None
    timeout: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.method, str):
            raise wrong_type("method", self.method, "a str or None")
        is_url = isinstance(self.url, str) or hasattr(self.url, "raw_path")
        if isinstance(self.url, type) or not is_url:
            raise TypeError(f"url must be a str or an httpx.URL, not {type(self.url).__name__}")
        try:
            self.build()  # tells now of what cannot be
        except Exception as error:
            raise lost("cannot be requested", error, self.url) from error

    def build(self, last_event_id: str = "") -> Any:  # noqa: ANN401 - a request of theirs
        """Have the client build a request."""
        headers = self.headers.copy()
        # No field can carry control characters, and space at its ends would be lost on the way.
        if last_event_id.strip(" \t") and not _UNFIT.search(last_event_id):
            headers["last-event-id"] = last_event_id.strip(" \t")
        options = {"headers": headers, "content": self.content, "timeout": self.timeout}
        return _checked(self.client.build_request(self.method, str(self.url), **options))

    async def send(self, last_event_id: str) -> Connection:
        """Connect, over redirects. httpx alone would give credentials away, and drop a `Cookie`."""
        request, left = self.build(last_event_id), self.client.max_redirects
        cookie = self.headers.get("cookie", self.client.headers.get("cookie"))
        options: dict[str, Any] = {"stream": True, "follow_redirects": False}
        while True:
            connection = self.kind(await settled(self.client.send(request, **options)))
            if connection.response.next_request is None or not left:
                return connection
            await connection.aclose()
            left -= 1
            origin, request = _origin(request), _checked(connection.response.next_request)
            if _origin(request) != origin:
                options["auth"] = None  # the client's credentials are for the first origin
            if "auth" in options:
                for name in {*request.headers} - _HARMLESS:
                    del request.headers[name]
            elif cookie:
                cookies = [cookie, request.headers.get("cookie")]
                request.headers["cookie"] = "; ".join(filter(None, cookies))


async def settled(result: Awaitable[T] | T) -> T:
    """Return what a function returns, async or not."""
    return cast("T", await result if inspect.isawaitable(result) else result)


def client_of(client: object, kind: str) -> Any:  # noqa: ANN401 - theirs
    """Return a client of this kind that is given, or one of our own."""
    if client is None:
        library = next(filter(importlib.util.find_spec, ("httpx", "httpx2")), None)
        if library is None:
            raise ImportError('sse_asgi.client needs httpx: pip install "sse-asgi[client]"')
        httpx = importlib.import_module(library)
        # What reads wait for is set for each request.
        return getattr(httpx, kind)(timeout=httpx.Timeout(10.0, read=None, pool=None))
    needed = ("build_request", "aclose" if kind == "AsyncClient" else "close")
    if isinstance(client, type) or not all(hasattr(client, name) for name in needed):
        raise TypeError(
            f"client must be an httpx.{kind} or httpx2.{kind}, not {shown(client)} "
            f"({type(client).__name__}); leave it out for one of its own"
        )
    return client


def headers_of(client: Any, headers: HeadersInput | None) -> Any:  # noqa: ANN401 - theirs
    """Return header fields in the class of the library, with the defaults that are not given."""
    try:
        fields = type(client.headers)(headers, encoding="utf-8")
        unfit = [name for name, value in fields.multi_items() if _UNFIT.search(value)]
    except (AttributeError, TypeError, ValueError) as error:
        # Values may be credentials, which must not end in a log: neither here nor below.
        raise TypeError("headers must be a mapping, or pairs of name and value, all str") from error
    if unfit:
        raise ValueError(f"the header {unfit[0]} must not have control characters: remove them")
    for name, value in _DEFAULTS.items():
        fields.setdefault(name, value)
    return fields


def body_of(json: object, content: str | bytes | None) -> str | bytes | None:
    """Return the body of a request, JSON as UTF-8."""
    if json is None:
        if isinstance(content, str | bytes | None):
            return content
        raise TypeError(f"content must be str or bytes, not of type {type(content).__name__}")
    if content is not None:
        raise TypeError("a request has one body: give json or content, not both")
    options: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False}
    try:
        return jsonlib.dumps(json, separators=(",", ":"), **options).encode()
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"json must be what JSON can carry: {error}") from error


def _origin(request: Any) -> tuple[str, str, int | None]:  # noqa: ANN401 - theirs
    return request.url.scheme, request.url.host, request.url.port


def _checked(request: Any) -> Any:  # noqa: ANN401 - theirs
    if (request.url.port or 0) > 65_535:  # the libraries let it pass, and reach another port
        raise ValueError(f"{shown_url(request.url)} cannot be requested: its port is over 65535")
    return request
