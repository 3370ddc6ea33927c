"""What a response means to a client of event streams (HTML 9.2.2 and 9.2.3), and what follows."""

import math
import os
import random
import re
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias, cast

import anyio

from sse_asgi.errors import SSEError, StreamLostError, StreamRefusedError, shown

Response: TypeAlias = Any
"""A response of httpx or httpx2, of which neither is imported."""

EVENT_STREAM = "text/event-stream"

TEMPORARY_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which a client connects again. The standard has none such: to it all are final."""

CODINGS = ("", "identity", "gzip", "deflate")
"""The values of `Content-Encoding` that are undone."""

BODY_LENGTH = 2_000
"""Characters of a refusal's body that are kept."""

SHORTEST_WAIT = 0.1
"""Seconds: no server makes its clients come back sooner."""

LONGEST_BACK_OFF = 30.0
"""Seconds: waits do not grow beyond it by failures alone."""

_NAME = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
_ESSENCE = re.compile(rf"[ \t\r\n]*({_NAME}/{_NAME})[ \t\r\n]*(?:;.*)?", re.DOTALL)
_PART = re.compile(r'(?:[^,"]|"(?:[^"\\]|\\.)*"?)+', re.DOTALL)
_USER = re.compile(r"^([^/]*//)[^/]*@")
_QUERY = re.compile(r"[?#].*", re.DOTALL)
_REMEDIES = {
    **dict.fromkeys((401, 403, 407), "check the credentials in the headers"),
    **dict.fromkeys((404, 410), "check the path"),
    **dict.fromkeys((400, 405, 413, 415, 422), "check the method and the body"),
    **dict.fromkeys((429, 503), "try again later"),
}
_OF_NETWORK = {"TransportError", "DecodingError"}  # httpx and httpx2 share the names
_BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


@dataclass(frozen=True, slots=True)
class End:
    """A connection has ended.

    Attributes:
        error: Why; None for a clean end.
        wait: The seconds that the server asks for before the next one, if it does.
        final: There is no next one.
        restarted: It ended on the user's word, whether or not there was a connection.
    """

    error: SSEError | None = None
    wait: float | None = None
    final: bool = False
    restarted: bool = False


def is_event_stream(response: Response) -> bool:
    """Tell whether a response's events can be read."""
    is_known = coding_of(response) in CODINGS
    return response.status_code == 200 and media_type(response) == EVENT_STREAM and is_known


def end_of(response: Response, body: bytes) -> End:
    """Return what a response that is no event stream means.

    Args:
        response: The response.
        body: The beginning of its body.
    """
    if response.status_code == 204:  # there is no more
        return End(final=True)
    is_temporary = response.status_code in TEMPORARY_STATUSES
    return End(refusal(response, body), wait=_asked_wait(response), final=not is_temporary)


def media_type(response: Response) -> str:
    """Return the essence of the content type in lower case, "" where there is none that is valid.

    By "extract a MIME type" of the Fetch standard: of several values the last valid one counts,
    parameters do not, nor does the case.
    """
    essences = map(_ESSENCE.fullmatch, _PART.findall(response.headers.get("content-type", "")))
    found = [essence[1].lower() for essence in essences if essence and essence[1] != "*/*"]
    return found[-1] if found else ""


def coding_of(response: Response) -> str:
    """Return the content coding in lower case, "" for none."""
    coding: str = response.headers.get("content-encoding", "")
    return coding.strip().lower()


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
        f"{EVENT_STREAM}: {_remedy(response, content_type)}",
        status=status,
        content_type=content_type,
        url=url,
        body=body.decode("utf-8", "replace")[:BODY_LENGTH],
    )


def _remedy(response: Response, content_type: str) -> str:
    status = response.status_code
    if 300 <= status < 400:
        is_named = "location" in response.headers
        follow = "have your client follow redirects, or ask for the location that it names"
        return follow if is_named else "a redirect must name a location"
    if status != 200:
        return _REMEDIES.get(status, "see the server's log")
    if content_type == "text/html":
        return "this is a page; check the path, and the credentials in the headers"
    if content_type == "application/json":
        return "check the path, and that the request asks for a stream"
    if content_type != EVENT_STREAM:
        return f"have the server send content-type: {EVENT_STREAM}"
    return f"its content coding is {coding_of(response)}; have the server heed Accept-Encoding"


class Reconnection:
    """Know how long to wait before the next connection.

    That is the reconnection time, twice as long with each further failure in a row up to 30 s, or
    what the server asks for if that is more; but 0.1 s at least, and `max_wait` at most. A random
    part of up to a half comes on top, so that clients of one server do not come back together.

    Args:
        time: The reconnection time, in milliseconds.
        enabled: Whether to connect again at all.
        max_wait: Seconds.

    Attributes:
        time: The reconnection time.
        outage: The seconds in which no connection gave a byte; others set it back.
    """

    def __init__(self, time: int, *, enabled: bool = True, max_wait: float = 300.0) -> None:
        if isinstance(time, bool) or not isinstance(time, int):
            raise TypeError(
                f"reconnection_time must be an int, not {shown(time)}: give whole milliseconds"
            )
        if time < 0:
            raise ValueError(f"reconnection_time must not be negative, as {shown(time)} is")
        if not isinstance(enabled, bool):
            raise TypeError(f"reconnect must be True or False, not {shown(enabled)}")
        self.time = time
        self.outage = 0.0
        self._enabled = enabled
        self._max_wait = check_seconds("max_wait", max_wait)
        self._ends = 0  # of connections, since one that gave a byte
        self._since: float | None = None  # when a byte came last, or a connection ended

    def reset(self) -> None:
        """Note that there is no failure to wait for."""
        self._ends = 0

    def note_byte(self, retry: int | None = None) -> None:
        """Note that the connection works, and the reconnection time that it may have given."""
        self.time = self.time if retry is None else retry
        if self._ends:
            self._add_outage()
        self._ends = 0
        self._since = time.monotonic()

    def after(self, end: End) -> float | None:
        """Return the seconds to wait after a connection's end, None where that was the last one.

        Raises:
            SSEError: The last one has failed.
        """
        self._add_outage()
        if self._enabled and not end.final:
            return self._delay(end.wait or 0.0)
        if end.error:
            raise end.error
        return None

    def _delay(self, asked: float) -> float:
        # Beyond 2**20 the limit has long been reached, and floats need not overflow.
        grown = max(self.time / 1000, SHORTEST_WAIT) * 2.0 ** min(self._ends, 20)
        self._ends += 1
        wait = max(self.time / 1000, min(grown, LONGEST_BACK_OFF), asked)
        return max(min(wait, self._max_wait), SHORTEST_WAIT) * (1 + random.random() / 2)  # noqa: S311 - no secret

    def _add_outage(self) -> None:
        now = time.monotonic()
        self.outage += now - (now if self._since is None else self._since)
        self._since = now


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


def check_seconds(name: str, value: object) -> float:
    """Return a number of seconds that can be waited for.

    Raises:
        TypeError: It is no number.
        ValueError: It is not positive, or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {shown(value)}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be more than 0 s and finite, not {shown(value)}")
    return float(value)


def check_hook(name: str, hook: Callable[..., object] | None) -> None:
    """Check that a hook can be called, or is None.

    Raises:
        TypeError: It is something else.
    """
    if hook is not None and not callable(hook):
        raise TypeError(f"{name} must be a callable or None, not {shown(hook)}")


def lost(what: str, cause: Exception, url: object = None) -> StreamLostError:
    """Return the error of a connection that failed.

    Raises:
        Exception: The cause itself, if it is not the network's, so that to try again is no use.
    """
    names = {base.__name__ for base in type(cause).__mro__}
    if not (names & _OF_NETWORK or isinstance(cause, _BROKEN)):
        raise cause
    place = f"{shown_url(url)}: " if url else ""
    error = StreamLostError(f"{place}{what}: {reason(cause)}")
    error.__cause__ = cause
    return error


def reason(error: BaseException) -> str:
    """Say why a request failed: the operating system's words, where they are at the bottom of it.

    "Connection refused" tells more than "All connection attempts failed".
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, BaseExceptionGroup):
            cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
        elif isinstance(cause, ssl.SSLError | socket.gaierror):  # with numbers of their own
            return cause.strerror or str(cause)
        elif isinstance(cause, OSError) and cause.errno:
            return os.strerror(cause.errno)  # asyncio puts its own words over the system's
        else:
            cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def shown_url(url: object) -> str:
    """Return a URL without its user and password, its query and its fragment, valid or not."""
    return _USER.sub(r"\1", _QUERY.sub("", str(url)))
