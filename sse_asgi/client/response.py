"""What a response means to a client of event streams (HTML 9.2.2 and 9.2.3), and what follows."""

import os
import random
import re
import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import cast

from sse_asgi.client.connection import BODY_LENGTH, Response
from sse_asgi.errors import SSEError, StreamLostError, StreamRefusedError

EVENT_STREAM = "text/event-stream"
TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})  # to the standard all are final
SHORTEST_WAIT = 0.1
LONGEST_BACK_OFF = 30.0
_CODINGS = ("", "identity", "gzip", "deflate")  # others make gigabytes of a few bytes at once
_SECRETS = re.compile(r"(?<=//)[^/?#]*@|[?#].*", re.DOTALL)
_REMEDIES: dict[int | str, str] = {
    **dict.fromkeys((401, 403, 407), "check the credentials in the headers"),
    **dict.fromkeys((404, 410), "check the path"),
    **dict.fromkeys((400, 405, 413, 415, 422), "check the method and the body"),
    **dict.fromkeys((429, 503), "try again later"),
    **dict.fromkeys((301, 302, 303, 307, 308), "follow redirects, or see why there are so many"),
    "text/html": "this is a page; check the path, and the credentials in the headers",
    "application/json": "check the path, and that the request asks for a stream",
}
_OURS = {"InvalidURL", "LocalProtocolError", "UnsupportedProtocol"}  # the request is at fault
_OF_NETWORK = {"TransportError", "DecodingError"}  # httpx and httpx2 share the names


@dataclass(frozen=True, slots=True)
class End:
    """The end of a connection."""

    error: SSEError | None = None  # none at a clean end
    wait: float | None = None  # seconds, where the server asks for some
    final: bool = False  # there is no next one
    restarted: bool = False  # by `restart`, whether or not there was a connection


def is_stream(response: Response) -> bool:
    """Tell whether a response's events can be read."""
    coding = response.headers.get("content-encoding", "").strip().lower()
    is_200 = response.status_code == 200
    return is_200 and media_type(response) == EVENT_STREAM and coding in _CODINGS


def end_of(response: Response, body: bytes) -> End:
    """Return what a response that is no event stream means, and that begins with this body."""
    if response.status_code == 204:  # there is no more
        return End(final=True)
    is_temporary = response.status_code in TEMPORARY_STATUSES
    return End(refusal(response, body), wait=_asked_wait(response), final=not is_temporary)


def media_type(response: Response) -> str:
    """Return the content type without its parameters; of several values the last one counts."""
    value: str = response.headers.get("content-type", "")
    return value.rpartition(",")[2].partition(";")[0].strip().lower()


def refusal(response: Response, body: bytes) -> StreamRefusedError:
    """Return the error that says why a response is refused, and what may help."""
    try:
        url = str(response.url)
    except RuntimeError:  # a response that was made by hand has none
        url = "the server"
    status, content_type = response.status_code, media_type(response)
    found = f"the content type {content_type}" if content_type else "no content type"
    return StreamRefusedError(
        f"{shown_url(url)} answered with status {status} and {found}; an event stream has 200 and "
        f"{EVENT_STREAM}: {_remedy(response)}",
        status=status,
        content_type=content_type,
        url=url,
        body=body.decode("utf-8", "replace")[:BODY_LENGTH],
    )


def _remedy(response: Response) -> str:
    status, content_type = response.status_code, media_type(response)
    if status != 200:
        return _REMEDIES.get(status, "see the server's log")
    if content_type != EVENT_STREAM:
        return _REMEDIES.get(content_type, f"have the server send content-type: {EVENT_STREAM}")
    coding = response.headers.get("content-encoding")
    return f"its content coding is {coding}; have the server heed Accept-Encoding"


def next_wait(reconnection_time: int, ends: int, asked: float, max_wait: float) -> float:
    """Return the seconds to wait after so many ends in a row; chance keeps clients apart."""
    least = reconnection_time / 1000
    grown = max(least, SHORTEST_WAIT) * 2.0 ** min(ends, 20)  # more would overflow
    wait = min(max(least, min(grown, LONGEST_BACK_OFF), asked), max_wait)
    return max(wait, SHORTEST_WAIT) * (1 + random.random() / 2)  # noqa: S311 - no secret


def lost(what: str, cause: Exception, url: object = None) -> StreamLostError:
    """Return the error of a connection that failed; raise what to try again is no use against."""
    names = {base.__name__ for base in type(cause).__mro__}
    if names & _OURS:
        raise ValueError(f"{shown_url(url)} cannot be requested: {reason(cause)}") from cause
    if not (names & _OF_NETWORK or isinstance(cause, OSError)):
        raise cause
    place = f"{shown_url(url)}: " if url else ""
    error = StreamLostError(f"{place}{what}: {reason(cause)}")
    error.__cause__ = cause
    return error


def reason(error: BaseException) -> str:
    """Say why a request failed, in the operating system's words where it has some."""
    cause: BaseException | None = error
    for _ in range(20):  # errors may cause one another in a circle
        if isinstance(cause, BaseExceptionGroup):
            cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
        elif isinstance(cause, ssl.SSLError | socket.gaierror):  # with numbers of their own
            return cause.strerror or str(cause)
        elif isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)  # asyncio puts its own words over the system's
        elif cause is not None:
            cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def shown_url(url: object) -> str:
    """Return a URL without its user and password, its query and its fragment, valid or not."""
    return _SECRETS.sub("", str(url))


def _asked_wait(response: Response) -> float | None:
    # Retry-After (RFC 9110, 10.2.3); one that cannot be read asks for no time
    value: str = response.headers.get("retry-after", "").strip()
    if value.isascii() and value.isdigit():
        return float(value[:12])
    try:
        date: datetime = parsedate_to_datetime(value)
    except (ValueError, OverflowError):  # the latter for an offset of more than all of time
        return 0.0 if value else None
    seconds = date.replace(tzinfo=date.tzinfo or UTC) - datetime.now(UTC)
    return max(seconds.total_seconds(), 0.0)
