"""What was seen of a stream: plain values, recorded once and judged afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum


class Stop(Enum):
    """Why an observation ended."""

    ENDED = "the body ended"
    BROKEN = "the connection broke off"
    SILENT = "nothing came for too long"
    ENOUGH = "enough was seen"
    NO_RESPONSE = "no response came"
    NO_CONNECTION = "no connection could be made"


@dataclass(frozen=True, slots=True)
class Arrival:
    """Bytes that arrived together, without their content coding, and when."""

    at: float  # seconds since the request
    data: bytes


@dataclass(frozen=True, slots=True)
class Redirect:
    """A redirect on the way."""

    status: int
    url: str
    location: str


@dataclass(slots=True)
class Exchange:
    """One request and what came of it.

    Times are seconds since the request.
    """

    method: str = "GET"
    url: str = ""
    began: float = 0.0  # by the clock on the wall, seconds since 1970
    status: int = 0
    http_version: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    redirects: list[Redirect] = field(default_factory=list[Redirect])
    response_at: float | None = None
    arrivals: list[Arrival] = field(default_factory=list[Arrival])
    coded_arrivals: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    ended_at: float = 0.0
    stop: Stop = Stop.ENOUGH
    error: str = ""

    def get(self, name: str) -> str:
        """Return a header field's value, several joined, "" for none."""
        return ", ".join(value for key, value in self.headers if key == name)

    def has(self, name: str) -> bool:
        """Tell whether there is such a header field."""
        return any(key == name for key, _ in self.headers)

    @property
    def body(self) -> bytes:
        """All that arrived."""
        return b"".join(arrival.data for arrival in self.arrivals)

    @property
    def first_byte_at(self) -> float | None:
        """When the first byte of the body came, coded or not."""
        return self.coded_arrivals[0][0] if self.coded_arrivals else None

    @property
    def is_stream(self) -> bool:
        """Whether a client would read events from it."""
        return self.status == 200 and _essence(self.get("content-type")) == "text/event-stream"


@dataclass(frozen=True, slots=True)
class Record:
    """An event as it was dispatched, or a comment, and when its last byte came."""

    at: float
    arrival: int  # the index of the arrival that completed it
    data: str = ""
    type: str = "message"
    id: str = ""
    comment: bool = False


@dataclass(frozen=True, slots=True)
class Examination:
    """All that is known of a stream.

    Attributes:
        first: What was watched.
        records: Its events and comments.
        wait: Seconds of silence that are too many.
        origin: The page's origin, None if that is of no interest.
        done: The end marker.
        again: A reconnection after the stream had ended.
        resumed: A connection with the first event's id as `Last-Event-ID`.
        plain: A connection that asked for no compression.
        preflight: The answer to a CORS preflight.
        asked_headers: The header fields that the preflight asked for, in lower case.
        alpn: The protocol that the server chose when it was offered HTTP/2.
    """

    first: Exchange
    records: Sequence[Record]
    wait: float
    origin: str | None = None
    done: str = "[DONE]"
    again: Exchange | None = None
    again_records: Sequence[Record] = ()
    resumed: Exchange | None = None
    resumed_records: Sequence[Record] = ()
    plain: Exchange | None = None
    preflight: Exchange | None = None
    asked_headers: Sequence[str] = ()
    alpn: str = ""

    @property
    def events(self) -> list[Record]:
        """The records that are events."""
        return [record for record in self.records if not record.comment]


def _essence(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
