"""One request of the doctor's: what comes, and when."""

import re
import time
from dataclasses import dataclass, field
from enum import StrEnum

import httpx

from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent

_LARGEST_BODY = 16_777_216
_LINE_END = re.compile(rb"\r\n|\r|\n")


class Stop(StrEnum):
    """Why an observation ended."""

    ENDED = "the body ended"
    BROKEN = "the connection broke off"
    SILENT = "nothing came for too long"
    ENOUGH = "enough was seen"
    NO_RESPONSE = "no response came"
    NO_CONNECTION = "no connection could be made"


@dataclass(slots=True)
class Exchange:
    """A request and what came of it; times are seconds since the request."""

    method: str
    url: str
    asked: httpx.Headers
    status: int = 0
    http_version: str = ""
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    response_at: float | None = None
    arrivals: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])
    events: list[MessageEvent] = field(default_factory=list[MessageEvent])
    ended_at: float = 0.0
    stop: Stop = Stop.ENOUGH
    error: str = ""

    @property
    def body(self) -> bytes:
        """All that arrived, without its content coding."""
        return b"".join(data for _, data in self.arrivals)

    @property
    def lines(self) -> list[bytes]:
        """The lines that have ended, without a BOM."""
        return _LINE_END.split(self.body.removeprefix(b"\xef\xbb\xbf"))[:-1]

    @property
    def is_stream(self) -> bool:
        """Whether a client would read events from it."""
        essence = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        return self.status == 200 and essence == "text/event-stream"

    @property
    def is_from_nginx(self) -> bool:
        """Whether nginx answered, which keeps `x-accel-buffering` for itself."""
        server = self.headers.get("server", "").lower()
        return "nginx" in server or "openresty" in server


@dataclass(frozen=True, slots=True)
class Case:
    """All that the doctor knows of a stream: an exchange, and a reconnection if there was one."""

    first: Exchange
    again: Exchange | None
    done: str  # the end marker


def observe(
    client: httpx.Client,
    method: str,
    url: str,
    *,
    headers: httpx.Headers,
    json: object,
    wait: float,
    one_event: bool = False,
) -> Exchange:
    """Send a request and watch what comes: until `wait` is over, or until an event, and silence."""
    seen = Exchange(method, url, headers)
    start = time.monotonic()
    try:
        with client.stream(method, url, headers=headers, json=json, timeout=wait) as response:
            seen.response_at = time.monotonic() - start
            seen.status, seen.http_version = response.status_code, response.http_version
            seen.headers = response.headers
            if seen.is_stream:
                _read(seen, response, start, wait, one_event=one_event)
    except httpx.ReadTimeout:
        seen.stop = Stop.NO_RESPONSE if seen.response_at is None else Stop.SILENT
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # a URL that is none
        seen.stop = Stop.NO_CONNECTION if seen.response_at is None else Stop.BROKEN
        seen.error = str(error)
    seen.ended_at = time.monotonic() - start
    return seen


def _read(
    seen: Exchange, response: httpx.Response, start: float, wait: float, *, one_event: bool
) -> None:
    decoder, size = EventStreamDecoder(), 0
    for data in response.iter_bytes():
        now = time.monotonic() - start
        size += len(data)
        seen.arrivals.append((now, data))
        seen.events += decoder.feed(data)
        if now >= wait or size > _LARGEST_BODY or (one_event and seen.events):
            return
    seen.stop = Stop.ENDED
