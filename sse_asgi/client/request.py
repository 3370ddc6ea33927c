"""The request that a client sends for each connection, and the redirects that it follows."""

import json as jsonlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

from sse_asgi.client.coding import ACCEPTED
from sse_asgi.client.http import AsyncClient, Response, is_unfit, reason
from sse_asgi.client.response import EVENT_STREAM
from sse_asgi.client.url import shown_url
from sse_asgi.errors import StreamRefusedError, shown

HeadersInput: TypeAlias = Mapping[str, str] | Iterable[tuple[str, str]]
Fields: TypeAlias = list[tuple[bytes, bytes]]

MAX_REDIRECTS = 20
"""As in the Fetch standard."""

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_UNFIT = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # no part of a field's value (RFC 9110, 5.5)
_OF_BODY = {  # Fetch, "request-body-header name"
    *("content-encoding", "content-language", "content-location", "content-type"),
    *("content-length", "transfer-encoding"),
}
_OF_ORIGIN = {"authorization", "cookie", "host", "proxy-authorization"}


class EventStreamRequest:
    """Describe the request for an event stream; it can be sent any number of times.

    Args:
        url: The URL.
        method: The method.
        headers: Header fields, which replace the defaults of their names. They are not changed.
        json: A body, sent as JSON.
        content: A body, sent as it is; a str as UTF-8.

    Raises:
        TypeError: A body that cannot be sent again, two bodies, or an argument of a wrong type.
        ValueError: No URL, no JSON, or a method or header that HTTP cannot carry.
    """

    def __init__(
        self,
        url: object,
        *,
        method: str = "GET",
        headers: HeadersInput | None = None,
        json: Any = None,  # noqa: ANN401 - whatever JSON can be
        content: str | bytes | None = None,
    ) -> None:
        self.url = _checked_url(url)
        self.method = _checked_method(method)
        self._content = _make_content(json, content)
        fields = _make_fields(headers)
        # The id belongs to the connection: what is given here is only where to begin.
        self.last_event_id = b"".join(
            value for name, value in fields if name == b"last-event-id"
        ).decode()
        self._fields = _with_defaults(fields, is_json=json is not None)

    async def send(
        self,
        client: AsyncClient,
        *,
        last_event_id: str = "",
        read_timeout: float | None = None,
        on_redirect: Callable[[Response], None] | None = None,
    ) -> Response:
        """Send the request, follow redirects, and return the response, its body unread.

        Raises:
            StreamRefusedError: Too many redirects.
            ValueError: The client refuses the URL, a redirect's, or a header field.
            Exception: What else the client raises.
        """
        try:
            return await self._send(client, last_event_id, read_timeout, on_redirect)
        except Exception as error:
            if not is_unfit(error):
                raise
            raise ValueError(
                f"{shown_url(self.url)} cannot be requested: {reason(error)}"
            ) from error

    async def _send(
        self,
        client: AsyncClient,
        last_event_id: str,
        read_timeout: float | None,
        on_redirect: Callable[[Response], None] | None,
    ) -> Response:
        request = self._build(client, last_event_id, read_timeout)
        auth: dict[str, None] = {}
        redirects = 0
        while True:
            response = await client.send(request, stream=True, follow_redirects=False, **auth)
            location = _location(response)
            if location is None:
                return response  # type: ignore[no-any-return]  # of whichever library it is
            redirects += 1
            if redirects > MAX_REDIRECTS:
                raise await self._circle(response)
            await response.aclose()
            if on_redirect:
                on_redirect(response)
            redirected = _redirect(client, request, response.status_code, location)
            if _origin(redirected.url) != _origin(request.url):
                auth = {"auth": None}  # credentials of the client are for the first origin
            request = redirected

    async def _circle(self, response: Response) -> StreamRefusedError:
        await response.aclose()
        return StreamRefusedError(
            f"{shown_url(self.url)} redirects more than {MAX_REDIRECTS} times: check its target",
            status=response.status_code,
            url=str(response.url),
        )

    def _build(self, client: AsyncClient, last_event_id: str, read_timeout: float | None) -> Any:  # noqa: ANN401
        headers = list(self._fields)
        value = header_value(last_event_id)
        if value:
            headers.append((b"Last-Event-ID", value))
        limits = client.timeout
        return client.build_request(
            self.method,
            self.url,
            content=self._content,
            headers=headers,
            # A stream may be silent for long: the client's own limit is meant for responses.
            timeout=(limits.connect, read_timeout, limits.write, limits.pool),
        )


def header_value(last_event_id: str) -> bytes | None:
    """Return an id as the value of a header field, UTF-8; None where no field can carry it.

    Space at its ends is no part of a field's value, so it is left out, as it would be on the way.
    """
    value = last_event_id.encode("utf-8", "replace").strip(b" \t")
    return None if _UNFIT.search(value) else value


def _checked_url(value: object) -> str:
    if not _is_url(value):
        raise TypeError(
            f"url must be a str or an httpx.URL, not {shown(value)} ({type(value).__name__})"
        )
    url = str(value)
    if not url:
        raise ValueError(
            f"url must not be empty, as {shown(value)} is: give the URL of the stream, or with a "
            "client that has a base URL its path"
        )
    visible = shown_url(url)
    try:
        _ = urlsplit(visible).port  # reading it checks it
    except ValueError as error:
        raise ValueError(f"url: {shown(visible)} is no URL: {error}") from error
    return url


def _is_url(value: object) -> bool:
    # The libraries' own classes of URLs have a scheme; so has a class itself, and urllib's tuple.
    is_object = hasattr(value, "scheme") and not isinstance(value, type | tuple)
    return isinstance(value, str) or is_object


def _checked_method(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"method must be a str, not {shown(value)} ({type(value).__name__})")
    if not _NAME.fullmatch(value):
        raise ValueError(f"method must be one of HTTP, such as 'POST', not {shown(value)}")
    return value


def _make_content(json: object, content: object) -> bytes | None:
    if json is not None and content is not None:
        raise TypeError("a request has one body: give json or content, not both")
    if json is not None:
        return _encode_json(json)
    if content is None or isinstance(content, bytes):
        return content
    if isinstance(content, str):
        return content.encode()
    raise TypeError(
        f"content must be str or bytes, not of type {type(content).__name__}: "
        "it is sent anew with every connection"
    )


def _encode_json(value: object) -> bytes:
    try:
        text = jsonlib.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except TypeError as error:
        raise TypeError(f"json must be what JSON can carry: {error}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"json must be what JSON can carry: {error}") from error


def _make_fields(headers: HeadersInput | None) -> Fields:
    pairs: object = () if headers is None else headers
    if isinstance(pairs, Mapping):
        pairs = cast("Mapping[object, object]", pairs).items()
    if isinstance(pairs, str | bytes) or not isinstance(pairs, Iterable):
        raise _no_headers(f"of type {type(pairs).__name__}")
    return [_make_field(pair) for pair in cast("Iterable[object]", pairs)]


def _no_headers(what: str) -> TypeError:
    # Values may be credentials, which must not end in a log: here and below only names are shown.
    return TypeError(f"headers must be a mapping, or pairs of name and value, both str, not {what}")


def _make_field(pair: object) -> tuple[bytes, bytes]:
    name, value = _two(pair)
    if not isinstance(name, str):
        raise _no_headers(f"an item of type {type(pair).__name__}")
    if not isinstance(value, str):
        raise _no_headers(f"{shown(name)} with a value of type {type(value).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"headers: {shown(name)} is no name of a header: letters, digits and - will do"
        )
    try:
        content = value.encode().strip(b" \t")
    except UnicodeEncodeError:
        raise ValueError(
            f"the header {name} must not have a lone surrogate in its value: remove it"
        ) from None
    if unfit := _UNFIT.search(content):
        raise ValueError(
            f"the header {name} must not have control characters in its value, such as "
            f"{unfit[0].decode()!r}: remove them"
        )
    return name.lower().encode(), content


def _two(pair: object) -> Sequence[object]:
    fields = cast("Sequence[object]", pair) if isinstance(pair, tuple | list) else ()
    return fields if len(fields) == 2 else (None, None)


def _with_defaults(fields: Fields, *, is_json: bool) -> Fields:
    given = {name for name, _ in fields}
    defaults = {b"accept": EVENT_STREAM.encode(), b"cache-control": b"no-cache"}
    defaults[b"accept-encoding"] = ACCEPTED.encode()  # what we can undo, whatever the client can
    if is_json:
        defaults[b"content-type"] = b"application/json"
    kept = [field for field in fields if field[0] != b"last-event-id"]
    return kept + [field for field in defaults.items() if field[0] not in given]


def _location(response: Any) -> str | None:  # noqa: ANN401 - of either library
    if response.status_code not in _REDIRECTS:
        return None
    values = response.headers.get_list("location")
    return values[0] if values else None


def _redirect(client: AsyncClient, request: Any, status: int, location: str) -> Any:  # noqa: ANN401
    """Build the request that a redirect asks for, by "HTTP-redirect fetch" of the Fetch standard.

    The libraries follow redirects too, but make a GET of more methods than the standard does.
    """
    url = request.url.join(location)
    method = request.method
    dropped: set[str] = set()
    if _becomes_get(status, method):
        method = "GET"
        dropped |= _OF_BODY
    if _origin(url) != _origin(request.url):
        dropped |= _OF_ORIGIN
    dropped |= {"host", "cookie"}  # both are made anew for the URL
    fields = [(n, v) for n, v in request.headers.raw if n.decode("ascii").lower() not in dropped]
    return type(request)(
        method,
        url,
        headers=fields,
        content=None if dropped & {"content-type"} else request.content or None,
        cookies=client.cookies,
        extensions=request.extensions,
    )


def _becomes_get(status: int, method: str) -> bool:
    if status == 303:
        return method not in ("GET", "HEAD")
    return status in (301, 302) and method == "POST"


def _origin(url: Any) -> tuple[str, str, int | None]:  # noqa: ANN401
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port
