"""The two kinds of event, and how one becomes bytes.

`ServerSentEvent` is what a server sends, `MessageEvent` what a client dispatches.
The format is the HTML standard's: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

import re
from dataclasses import dataclass
from typing import Any

from sse_asgi.errors import InvalidEventError, shown

MAX_RECONNECTION_TIME = 2**63 - 1
"""The largest `retry`, in milliseconds. The standard names no limit; this one is 64-bit, signed."""

_SURROGATE = re.compile("[\ud800-\udfff]")


def utf8(text: str) -> bytes:
    """Encode text as UTF-8, each lone surrogate as U+FFFD: this never raises."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return well_formed(text).encode()


def well_formed(text: str) -> str:
    """Replace each lone surrogate by U+FFFD, as it will arrive."""
    return _SURROGATE.sub("\ufffd", text)


def encode_data(text: str) -> bytes:
    """Encode an event that has data and nothing else, its blank line included."""
    if "\n" in text or "\r" in text:
        return _lines("data: ", text) + b"\n"
    return b"data: %b\n\n" % utf8(text)


def _lines(prefix: str, text: str) -> bytes:
    # CRLF, CR and LF end a line and nothing else does: never str.splitlines.
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    return utf8(prefix + text.replace("\n", "\n" + prefix) + "\n")


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """Describe one event for a server to send.

    A field that is `None` is left out. Lone surrogates are sent as U+FFFD.

    Attributes:
        data: The text. CRLF, CR and LF in it all arrive as LF.
        event: The event type; clients take "message" when it is missing or empty.
        id: The event's id, which a client sends back as `Last-Event-ID`.
        retry: The reconnection time, in milliseconds.
        comment: Text that clients ignore, sent before the fields.

    Raises:
        InvalidEventError: If `id` has CR, LF or NUL, `event` has CR or LF, `retry` is negative or
            over 2**63 - 1, or a field has another type (a bool is no int).
    """

    data: str | None = None
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        _check_text("data", self.data, remedy="encode it first, with json.dumps for instance")
        _check_name("event", self.event, remedy="give the event type's name")
        _check_name("id", self.id, remedy="convert it with str()")
        _check_text("comment", self.comment, remedy="convert it with str()")
        _check_characters("event", self.event, {"\r": "CR", "\n": "LF"})
        _check_characters("id", self.id, {"\r": "CR", "\n": "LF", "\0": "NUL"})
        _check_retry(self.retry)

    def encode(self) -> bytes:
        r"""Encode the event for the wire, with LF line ends: comment, event, id, retry, data.

        A blank line ends the event. A comment alone gets none, because several clients make an
        empty event of it. An event without any field encodes to `b""`. This never raises.
        """
        comment = b"" if self.comment is None else _lines(": ", self.comment)
        fields = self._fields()
        if self.data is not None:
            return comment + fields + encode_data(self.data)
        return comment + fields + b"\n" if fields else comment

    def _fields(self) -> bytes:
        fields = b""
        if self.event is not None:
            fields += b"event: %b\n" % utf8(self.event)
        if self.id is not None:
            fields += b"id: %b\n" % utf8(self.id)
        if self.retry is not None:
            fields += b"retry: %d\n" % self.retry
        return fields


def _check_text(field: str, value: object, *, remedy: str) -> None:
    # Named by its type alone: the message may be logged, and the text of users must not be.
    if value is not None and not isinstance(value, str):
        raise InvalidEventError(
            f"{field} must be a str or None, not of type {type(value).__name__}: {remedy}"
        )


def _check_name(field: str, value: object, *, remedy: str) -> None:
    if value is not None and not isinstance(value, str):
        raise InvalidEventError(
            f"{field} must be a str or None, not {shown(value)} ({type(value).__name__}): {remedy}"
        )


def _check_characters(field: str, value: str | None, forbidden: dict[str, str]) -> None:
    for character, name in forbidden.items():
        if value is not None and character in value:
            raise InvalidEventError(
                f"{field} must not have the character {name}, as {shown(value)} has: "
                "the event stream format cannot carry it there; remove or replace it"
            )


def _check_retry(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidEventError(
            f"retry must be an int or None, not {shown(value)} ({type(value).__name__}): "
            "give whole milliseconds, round(1000 * seconds) for instance"
        )
    if not 0 <= value <= MAX_RECONNECTION_TIME:
        raise InvalidEventError(
            f"retry must be between 0 and {MAX_RECONNECTION_TIME} (milliseconds), "
            f"not {shown(value)}: leave it out to keep the client's own reconnection time"
        )


@dataclass(frozen=True, slots=True)
class MessageEvent:
    """Hold one event as a client dispatches it, as a browser's `EventSource` does.

    Attributes:
        data: The text of the `data` fields, joined with LF.
        type: The event type.
        last_event_id: The last id received up to and with this event, "" before the first.
    """

    data: str
    type: str = "message"
    last_event_id: str = ""


class _Unfrozen:
    __slots__ = ("data", "last_event_id", "type")  # as `MessageEvent` has them


# A client makes an event per token. The constructor of a frozen class takes twice as long as to
# fill an object that is not frozen yet, and then give it its class (docs/decisions/0016).


def message_event(data: str, kind: str, last_event_id: str) -> MessageEvent:
    """Return `MessageEvent(data, kind, last_event_id)`."""
    event: Any = _Unfrozen()
    event.data, event.type, event.last_event_id = data, kind, last_event_id
    event.__class__ = MessageEvent
    made: MessageEvent = event
    return made


def message_events(texts: list[str], last_event_id: str) -> list[MessageEvent]:
    """Return a "message" event for each text; of many, each is made without a call."""
    events: list[MessageEvent] = []
    for text in texts:
        event: Any = _Unfrozen()
        event.data, event.type, event.last_event_id = text, "message", last_event_id
        event.__class__ = MessageEvent
        events.append(event)
    return events
