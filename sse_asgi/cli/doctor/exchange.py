"""One request of the doctor's: what comes, and when."""

import re
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, NamedTuple

from sse_asgi.wire.decoder import EventStreamDecoder

_LARGEST_BODY = 16_777_216
_MOST_REDIRECTS = 20
_LINE_END = re.compile(rb"\r\n|\r|\n")
_HARMLESS = {"accept", "accept-encoding", "accept-language", "cache-control", "content-length",
             "content-type", "host", "origin", "user-agent"}  # fmt: skip


class Stop(Enum):
    """Why an observation ended."""

    ENDED = "the body ended"
    BROKEN = "the connection broke off"
    SILENT = "nothing came for too long"
    ENOUGH = "enough was seen"
    NO_RESPONSE = "no response came"
    NO_CONNECTION = "no connection could be made"


class Record(NamedTuple):
    """An event as it was dispatched, or a comment, and when its last byte came."""

    at: float
    data: str
    type: str = "message"
    id: str = ""
    comment: bool = False


@dataclass(slots=True)
class Exchange:
    """A request and what came of it; times are seconds since the request."""

    method: str = "GET"
    url: str = ""
    began: float = 0.0  # by the clock on the wall, seconds since 1970
    status: int = 0
    http_version: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])  # lower-case names
    redirects: list[str] = field(default_factory=list[str])
    response_at: float | None = None
    byte_times: list[float] = field(default_factory=list[float])  # coded or not
    arrivals: list[tuple[float, bytes]] = field(default_factory=list[tuple[float, bytes]])
    records: list[Record] = field(default_factory=list[Record])
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
    def events(self) -> list[Record]:
        """The records that are events."""
        return [record for record in self.records if not record.comment]

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


def observe(
    library: Any,  # noqa: ANN401 - httpx or httpx2
    client: Any,  # noqa: ANN401 - of that library
    request: Any,  # noqa: ANN401 - of that library
    *,
    watch: float,
    one_event: bool = False,
) -> Exchange:
    """Send a request, watch what comes for some seconds, or until an event, and return it.

    The read timeout of the request is the silence that ends it before.
    """
    seen = Exchange(request.method, str(request.url), began=time.time())
    start = time.monotonic()
    try:
        response = _send(library, client, request, seen)
        try:
            _note_response(seen, response, time.monotonic() - start)
            _read(seen, response, start, watch, one_event=one_event)
        finally:
            response.close()
    except library.ReadTimeout:
        seen.stop = Stop.NO_RESPONSE if seen.response_at is None else Stop.SILENT
    except (library.TransportError, library.TooManyRedirects, library.InvalidURL) as error:
        seen.stop = Stop.NO_CONNECTION if seen.response_at is None else Stop.BROKEN
        seen.error = str(error)
    seen.ended_at = time.monotonic() - start
    return seen


def _send(library: Any, client: Any, request: Any, seen: Exchange) -> Any:  # noqa: ANN401
    while True:
        response = client.send(request, stream=True, follow_redirects=False)
        following = response.next_request
        if following is None:
            return response
        response.close()
        seen.redirects.append(f"{response.status_code} to {response.headers['location']}")
        if len(seen.redirects) > _MOST_REDIRECTS:
            raise library.TooManyRedirects(f"more than {_MOST_REDIRECTS} redirects")
        if _origin(following.url) != _origin(request.url):
            for name in {*following.headers} - _HARMLESS:
                del following.headers[name]
        request = following


def _origin(url: Any) -> tuple[str, str, int | None]:  # noqa: ANN401
    return url.scheme, url.host, url.port


def _note_response(seen: Exchange, response: Any, at: float) -> None:  # noqa: ANN401
    seen.response_at = at
    seen.method, seen.url = response.request.method, str(response.url)
    seen.status, seen.http_version = response.status_code, response.http_version
    seen.headers = dict(response.headers)


def _read(seen: Exchange, response: Any, start: float, watch: float, *, one_event: bool) -> None:  # noqa: ANN401
    """Read without the library's decoding: a coding that holds back what it got is to be seen."""
    coding = seen.headers.get("content-encoding", "")
    unpack = zlib.decompressobj(47) if coding else None  # gzip or deflate, as it was asked for
    decoder, line, size = EventStreamDecoder(), b"", 0
    for chunk in response.iter_raw():
        now = time.monotonic() - start
        seen.byte_times.append(now)
        data = _unpack(unpack, chunk) if unpack else chunk
        if data:
            size += len(data)
            seen.arrivals.append((now, data))
            *lines, line = _LINE_END.split(line + data)
            comments = [each[1:].decode("utf-8", "replace") for each in lines if each[:1] == b":"]
            seen.records += [Record(now, comment, comment=True) for comment in comments]
            events = decoder.feed(data)
            seen.records += [Record(now, e.data, e.type, e.last_event_id) for e in events]
        if now >= watch or size > _LARGEST_BODY or (one_event and seen.events):
            return
    seen.stop = Stop.ENDED


def _unpack(unpack: Any, chunk: bytes) -> bytes:  # noqa: ANN401 - zlib does not name its type
    try:
        data: bytes = unpack.decompress(chunk)
    except zlib.error:  # then nothing is ever decoded, and that is what is found
        return b""
    return data
