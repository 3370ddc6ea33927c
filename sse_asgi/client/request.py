"""The request that a client sends for each connection, by whichever HTTP library there is."""

import importlib
import json as jsonlib
import re
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, Protocol, TypeAlias

from sse_asgi.client.response import EVENT_STREAM, Response, check_seconds, reason, shown_url
from sse_asgi.errors import StreamRefusedError, shown

HeadersInput: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
AnyClient: TypeAlias = Any
"""An `AsyncClient` or a `Client`; the libraries have classes of their own for all it takes."""

CONNECT_TIMEOUT = 10.0
"""Seconds that a client of our own may take to connect, or to send a part of the request."""

_OURS = {"InvalidURL", "LocalProtocolError", "UnsupportedProtocol"}  # the request is at fault
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")  # no part of a value (RFC 9110, 5.5)
_DEFAULTS = {
    "accept": EVENT_STREAM,
    "cache-control": "no-cache",
    "accept-encoding": "gzip, deflate",  # what we can undo, whatever the library can
}
_HARMLESS = {  # they say nothing of who asks
    *("accept", "accept-encoding", "accept-language", "cache-control", "connection", "host"),
    *("content-encoding", "content-language", "content-length", "content-type"),
    *("last-event-id", "transfer-encoding", "user-agent"),
}


class AsyncClient(Protocol):
    """An `httpx.AsyncClient` or an `httpx2.AsyncClient`."""

    def build_request(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401, D102 - theirs

    async def send(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401, D102 - theirs

    async def aclose(self) -> None: ...  # noqa: D102 - theirs


class Client(Protocol):
    """An `httpx.Client` or an `httpx2.Client`."""

    def build_request(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401, D102 - theirs

    def send(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401, D102 - theirs

    def close(self) -> None: ...  # noqa: D102 - theirs


def make_client(kind: str) -> AnyClient:
    """Make a client of httpx, or of httpx2 where only that is installed.

    Raises:
        ImportError: If neither is; the message has the command that installs one.
    """
    for name in ("httpx", "httpx2"):
        try:
            library = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
        else:
            # What reads wait for is set for each request.
            timeout = library.Timeout(CONNECT_TIMEOUT, read=None, pool=None)
            return getattr(library, kind)(timeout=timeout)
    raise ImportError('sse_asgi.client needs httpx: pip install "sse-asgi[client]"', name="httpx")


def check_client(client: object, kind: str) -> None:
    """Check that a client that was passed in is one of this kind.

    Raises:
        TypeError: If it is not; a `Client` for an `AsyncClient` is the usual mistake.
    """
    needed = ("build_request", "send", "aclose" if kind == "AsyncClient" else "close")
    if isinstance(client, type) or not all(hasattr(client, name) for name in needed):
        raise TypeError(
            f"client must be an httpx.{kind} or httpx2.{kind}, not {shown(client)} "
            f"({type(client).__name__}); leave it out for one of its own"
        )


class EventStreamRequest:
    """Describe the request for an event stream; it can be sent any number of times.

    Args:
        client: What sends it.
        url: The URL.
        method: The method; by default GET, or POST with a body.
        headers: Header fields, which replace the defaults of their names. They are not changed.
        json: A body, sent as JSON.
        content: A body, sent as it is; a str as UTF-8.
        last_event_id: The id to begin with; "" for the one among the headers, if there is one.
        read_timeout: Seconds without a byte after which a connection is lost; None for no limit.

    Raises:
        TypeError: A body that cannot be sent again, two bodies, or an argument of a wrong type.
        ValueError: No URL, no JSON, or a header that HTTP cannot carry.
    """

    def __init__(
        self,
        client: AnyClient,
        url: object,
        *,
        method: object = None,
        headers: HeadersInput | None = None,
        json: Any = None,  # noqa: ANN401 - whatever JSON can be
        content: object = None,
        last_event_id: str = "",
        read_timeout: float | None = None,
    ) -> None:
        if json is not None and content is not None:
            raise TypeError("a request has one body: give json or content, not both")
        if content is not None and not isinstance(content, str | bytes):
            kind = type(content).__name__
            raise TypeError(
                f"content must be str or bytes, not {kind}: it is sent with every connection"
            )
        if not (isinstance(url, str) or hasattr(url, "raw_path")) or isinstance(url, type):
            raise TypeError(f"url must be a str or an httpx.URL, not of type {type(url).__name__}")
        if not isinstance(method, str | None):
            raise TypeError(f"method must be a str or None, not {shown(method)}")
        if read_timeout is not None:
            read_timeout = check_seconds("read_timeout", read_timeout)
        self._client = client
        self._headers = _make_headers(client, headers)
        if json is not None:
            content = _encode_json(json)
            self._headers.setdefault("content-type", "application/json")
        self.url = url
        self.method = method or ("GET" if content is None else "POST")
        self.has_cookie = "cookie" in self._headers or "cookie" in client.headers
        # The id belongs to the connection: what is given here is only where to begin.
        in_headers: str = self._headers.pop("last-event-id", "")
        self.last_event_id = in_headers if last_event_id == "" else last_event_id
        self._content = content
        limits = client.timeout
        # A stream may be silent for long: the client's own limit is meant for responses.
        self._timeout = (limits.connect, read_timeout, limits.write, limits.pool)
        self.build()  # tells now of what cannot be

    def build(self, last_event_id: str = "") -> Any:  # noqa: ANN401 - a request of theirs
        """Have the client build a request."""
        headers = self._headers.copy()
        # No field can carry control characters, and space at its ends would be lost on the way.
        if last_event_id.strip(" \t") and not _UNFIT.search(last_event_id):
            headers["last-event-id"] = last_event_id.strip(" \t")
        with _told(self.url):
            request = self._client.build_request(
                self.method,
                self.url,
                headers=headers,
                content=self._content,
                timeout=self._timeout,
            )
        return _checked(request)

    async def send(self, last_event_id: str = "") -> Response:
        """Send the request, follow redirects, and return the response, its body unread.

        Raises:
            StreamRefusedError: Too many redirects.
            ValueError: The client refuses the URL, a redirect's, or a header field.
            Exception: What else the client raises.
        """
        hops = _Hops(self, self._client, last_event_id)
        with _told(self.url):
            while True:
                response = await self._client.send(hops.request, **hops.options)
                if response.next_request is None:
                    return response
                await response.aclose()
                hops.follow(response)

    def send_sync(self, last_event_id: str = "") -> Response:
        """Do as `send` does, with a client that needs no event loop."""
        hops = _Hops(self, self._client, last_event_id)
        with _told(self.url):
            while True:
                response = self._client.send(hops.request, **hops.options)
                if response.next_request is None:
                    return response
                response.close()
                hops.follow(response)


class _Hops:
    """The request, and then those that redirects make of it.

    httpx makes them, but sends all but `Authorization` to whatever host a redirect names, and drops
    a given `Cookie` even within the origin. `follow_redirects=True` has no hook to set that right,
    so each `next_request` is sent from here.
    """

    def __init__(self, request: EventStreamRequest, client: AnyClient, last_event_id: str) -> None:
        self.request = request.build(last_event_id)
        self.options: dict[str, Any] = {"stream": True, "follow_redirects": False}
        self._client = client
        self._left = client.max_redirects
        self._cookie = self.request.headers.get("cookie") if request.has_cookie else None

    def follow(self, response: Response) -> None:
        """Go on to the request that a redirect asks for."""
        if not self._left:
            raise StreamRefusedError(
                f"{shown_url(response.url)} is one redirect too many, after "
                f"{self._client.max_redirects}: check where the first URL leads",
                status=response.status_code,
                url=str(response.url),
            )
        self._left -= 1
        left, self.request = _origin(self.request), _checked(response.next_request)
        if _origin(self.request) != left:
            self.options["auth"] = None  # the client's credentials are for the first origin
        if "auth" in self.options:
            self._keep_harmless()
        elif self._cookie:
            cookies = [self._cookie, self.request.headers.get("cookie")]
            self.request.headers["cookie"] = "; ".join(filter(None, cookies))

    def _keep_harmless(self) -> None:
        for name in {*self.request.headers} - _HARMLESS:
            del self.request.headers[name]
        # What a server has set is its host's. Cookies that the caller gave the client name no host,
        # and the libraries send them to any.
        cookies = type(self._client.cookies)()
        for cookie in self._client.cookies.jar:
            if cookie.domain:
                cookies.jar.set_cookie(cookie)
        cookies.set_cookie_header(self.request)


@contextmanager
def _told(url: object) -> Generator[None]:
    try:
        yield
    except Exception as error:
        if _OURS.isdisjoint(base.__name__ for base in type(error).__mro__):
            raise
        raise ValueError(f"{shown_url(url)} cannot be requested: {reason(error)}") from error


def _origin(request: Any) -> tuple[str, str, int | None]:  # noqa: ANN401 - theirs
    return request.url.scheme, request.url.host, request.url.port


def _checked(request: Any) -> Any:  # noqa: ANN401 - theirs
    if (request.url.port or 0) > 65_535:  # the libraries let it pass, and asyncio fails oddly
        raise ValueError(f"{shown_url(request.url)} cannot be requested: its port is over 65535")
    return request


def _encode_json(value: object) -> bytes:
    try:
        options: dict[str, Any] = {"ensure_ascii": False, "allow_nan": False}
        return jsonlib.dumps(value, separators=(",", ":"), **options).encode()
    except TypeError as error:
        raise TypeError(f"json must be what JSON can carry: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"json must be what JSON can carry: {error}") from error


def _make_headers(client: AnyClient, headers: HeadersInput | None) -> Any:  # noqa: ANN401 - theirs
    """Return header fields in the library's class, with the defaults that are not given."""
    try:
        fields = type(client.headers)(headers, encoding="utf-8")
        pairs = [*fields.multi_items()]
    except (AttributeError, TypeError, ValueError) as error:
        # Values may be credentials, which must not end in a log: neither here nor below.
        raise TypeError(
            "headers must be a mapping, or pairs of name and value, all str that UTF-8 can carry"
        ) from error
    for name, value in pairs:
        if _UNFIT.search(value):
            raise ValueError(f"the header {name} must not have control characters: remove them")
    for name, value in _DEFAULTS.items():
        fields.setdefault(name, value)
    return fields
