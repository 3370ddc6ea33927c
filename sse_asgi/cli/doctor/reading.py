"""From bytes with their times to events with theirs."""

import re
from collections.abc import Sequence

from sse_asgi.cli.doctor.observation import Arrival, Record
from sse_asgi.client.inbox import Comment, CommentDecoder
from sse_asgi.errors import EventTooLargeError
from sse_asgi.wire.decoder import DEFAULT_MAX_EVENT_SIZE
from sse_asgi.wire.events import MessageEvent

_LINE_END = re.compile(rb"\r\n|\r|\n")


def read_records(arrivals: Sequence[Arrival]) -> list[Record]:
    """Return the events and comments of a body, each with the time of its last byte."""
    decoder = CommentDecoder(last_event_id="", max_event_size=DEFAULT_MAX_EVENT_SIZE)
    records: list[Record] = []
    for index, arrival in enumerate(arrivals):
        try:
            items = decoder.decode(arrival.data)
        except EventTooLargeError:
            break
        for item in items:
            if isinstance(item, Comment):
                records.append(Record(arrival.at, index, item.text, comment=True))
            elif isinstance(item, MessageEvent):
                records.append(Record(arrival.at, index, item.data, item.type, item.last_event_id))
    return records


def lines_of(body: bytes) -> list[bytes]:
    """Return the lines that have ended, without a BOM."""
    return _LINE_END.split(body.removeprefix(b"\xef\xbb\xbf"))[:-1]
