r"""From the bytes of an event stream to the events that a client dispatches.

The rules are the HTML standard's, section 9.2.6:
https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation

How the same result comes out for every way of cutting the bytes, in linear time:

1. Only whole lines are decoded. CR and LF bytes are never part of a longer UTF-8 sequence, so a
   decoded line does not depend on where the bytes were cut, invalid ones included.
2. What follows the last line end is put by and not looked at again until its line ends.
3. A CR at the end of a feed ends its line at once; an LF that begins the next feed belongs to it.
"""

from sse_asgi.errors import EventTooLargeError, InvalidEventError, shown
from sse_asgi.wire.events import MAX_RECONNECTION_TIME, MessageEvent, message_event, message_events

DEFAULT_MAX_EVENT_SIZE = 33_554_432
"""The default limit on one event, in bytes: 32 MiB."""

_BOM = b"\xef\xbb\xbf"
# `in` takes a byte's value ten times as fast as a string of one byte.
_LF = ord("\n")
_CR = ord("\r")
_COMMENT = ord(":")


class EventStreamDecoder:
    r"""Decode an event stream, piece by piece, as a browser's `EventSource` does.

    One leading BOM is dropped and invalid UTF-8 becomes U+FFFD. A block without data dispatches
    nothing, but its id counts. An event that the stream leaves unfinished is dropped. Where the
    bytes are cut never changes the result.

    The size of an event is the bytes of its lines, each line end counted as one byte, from the last
    blank line on and with the line that has not ended yet. A comment counts until its line ends, so
    any number of comments may follow each other, at no cost in memory.

    Args:
        last_event_id: The id that the connection was opened with. Events carry it until the stream
            sends another.
        max_event_size: The limit on one event, in bytes, which bounds memory.

    Raises:
        TypeError: If an option has another type.
        InvalidEventError: If `last_event_id` has CR, LF or NUL, which no received id has.
        ValueError: If `max_event_size` is less than 1.
    """

    def __init__(
        self, *, last_event_id: str = "", max_event_size: int = DEFAULT_MAX_EVENT_SIZE
    ) -> None:
        _check_last_event_id(last_event_id)
        _check_max_event_size(max_event_size)
        self._last_event_id = last_event_id
        self._reconnection_time: int | None = None
        self._max_event_size = max_event_size
        self._too_large = False
        self._between_events = False  # nothing is held or open: what comes begins a block
        self._start: bytes | None = b""  # what may still become a BOM; None once that is settled
        self._after_cr = False
        self._unfinished = bytearray()  # the line that has not ended yet
        self._block_size = 0  # of the ended lines since the last blank one, comments excluded
        # The standard's buffers.
        self._data: list[str] = []
        self._type = ""
        self._id = last_event_id

    @property
    def last_event_id(self) -> str:
        """The id that the next request must send; it moves when a block ends, not before."""
        return self._last_event_id

    @property
    def reconnection_time(self) -> int | None:
        """The last valid `retry`, in milliseconds, at most 2**63 - 1; `None` before the first."""
        return self._reconnection_time

    def feed(self, data: bytes | bytearray | memoryview) -> list[MessageEvent]:
        """Decode the next bytes of the stream, of any number, and return the events they complete.

        Raises:
            TypeError: If `data` is not bytes, a bytearray or a memoryview.
            EventTooLargeError: If an event is larger than `max_event_size`. Events that the same
                bytes completed are not returned, and `last_event_id` stays before them, so
                that nothing is lost to a client that reconnects. Every later feed raises it again.
        """
        # Servers flush at the end of an event: then nothing must be joined, held or counted, and
        # the next feed begins as this one did. Should this one end with CR and that one begin with
        # its LF, then that LF is read as one more blank line, which does nothing here.
        if self._between_events and type(data) is bytes and len(data) <= self._max_event_size:
            line = data.removeprefix(b"data: ").removesuffix(b"\n\n")
            if len(line) == len(data) - 8 and _LF not in line and _CR not in line:  # as most are
                text = line.decode("utf-8", "replace")
                return [message_event(text, "message", self._last_event_id)]
            blocks = _with_lf(data) if _CR in data else data
            if blocks[-2:] == b"\n\n":
                return self._interpret_from_block_start(blocks.decode("utf-8", "replace"))
        begins_block = not self._block_size
        lines = self._take_lines(self._admit(data)).decode("utf-8", "replace")
        self._between_events = self._is_between_events()
        return self._interpret_from_block_start(lines) if begins_block else self._interpret(lines)

    def _admit(self, data: bytes | bytearray | memoryview) -> bytes:
        """Return what is left of the bytes without a BOM, and without an LF that ended before."""
        if self._too_large:
            raise self._refusal()
        data = _checked_bytes(data)
        if self._start is not None:
            data = self._drop_bom(data)
        if self._after_cr:
            self._after_cr = not data
            data = data.removeprefix(b"\n")
        if data.endswith(b"\r"):
            self._after_cr = True
        return data

    def _drop_bom(self, data: bytes) -> bytes:
        data = (self._start or b"") + data
        if len(data) < len(_BOM) and _BOM.startswith(data):
            self._start = data
            return b""
        self._start = None
        return data.removeprefix(_BOM)

    def _take_lines(self, data: bytes) -> bytes:
        """Return the lines that have ended, with LF line ends, and hold what follows them."""
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        lines = self._complete(data[:end]) if end else b""
        self._measure(lines)
        self._hold(data[end:])
        return lines

    def _complete(self, lines: bytes) -> bytes:
        if self._unfinished:
            self._unfinished += lines
            lines = bytes(self._unfinished)
            self._unfinished.clear()
        return _with_lf(lines) if _CR in lines else lines

    def _hold(self, rest: bytes) -> None:
        if rest:
            self._unfinished += rest
            self._check_size(self._block_size + len(self._unfinished))

    def _is_between_events(self) -> bool:
        return self._start is None and not self._unfinished and not self._block_size

    def _measure(self, lines: bytes) -> None:
        # When all of it is within the limit, so is each event in it. Then only the last blank line
        # and what follows it need counting, for the lines that come next.
        if self._block_size + len(lines) <= self._max_event_size:
            lines = lines[lines.rfind(b"\n\n") + 1 :]
        for line in lines[:-1].split(b"\n") if lines else ():
            self._count(line)

    def _count(self, line: bytes) -> None:
        if not line:
            self._block_size = 0
        elif line[0] == _COMMENT:
            self._check_size(self._block_size + len(line))
        else:
            self._block_size += len(line) + 1
            self._check_size(self._block_size)

    def _check_size(self, size: int) -> None:
        if size > self._max_event_size:
            self._too_large = True
            self._between_events = False
            self._unfinished.clear()
            self._data.clear()
            raise self._refusal()

    def _refusal(self) -> EventTooLargeError:
        return EventTooLargeError(
            f"an event is larger than max_event_size={self._max_event_size} bytes: "
            "give the decoder a larger max_event_size, or have the server send smaller events"
        )

    def _interpret_from_block_start(self, lines: str) -> list[MessageEvent]:
        # Most blocks are one line of data. A run of those needs no look at its lines: nothing is in
        # the buffers where a block begins, and the id is the last one.
        if lines[:6] == "data: " and lines[-2:] == "\n\n":
            texts = lines.split("\n\ndata: ")
            texts[0] = texts[0][6:]
            texts[-1] = texts[-1][:-2]
            if "\n" not in "".join(texts):
                return message_events(texts, self._last_event_id)
        return self._interpret(lines.lstrip("\n"))  # blank lines that do nothing: maybe millions

    def _interpret(self, lines: str) -> list[MessageEvent]:
        events: list[MessageEvent] = []
        data = self._data
        for line in lines.split("\n")[:-1]:
            if not line:
                if data or self._type or self._id != self._last_event_id:  # of many, only the first
                    self._dispatch(events)
            elif line[:6] == "data: ":  # as most begin; _read_field knows the other spellings
                data.append(line[6:])
            else:
                self._read_field(line)
        return events

    def _read_field(self, line: str) -> None:
        name, _, value = line.partition(":")  # a comment is a field without a name
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "event":
            self._type = value
        elif name == "retry" and value.isascii() and value.isdigit():
            self._reconnection_time = _milliseconds(value)

    def _dispatch(self, events: list[MessageEvent]) -> None:
        last_event_id = self._last_event_id = self._id
        if data := self._data:
            events.append(message_event("\n".join(data), self._type or "message", last_event_id))
            data.clear()
        self._type = ""


def _with_lf(lines: bytes) -> bytes:
    return lines.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _milliseconds(digits: str) -> int:
    # int() refuses thousands of digits, and those of them that matter are few.
    digits = digits.lstrip("0")[: len(str(MAX_RECONNECTION_TIME)) + 1]
    return min(int(digits or "0"), MAX_RECONNECTION_TIME)


def _checked_bytes(data: object) -> bytes:
    if isinstance(data, bytes | bytearray):
        return bytes(data)
    if isinstance(data, memoryview):
        return data.tobytes()
    raise TypeError(
        f"feed takes bytes, not what is of type {type(data).__name__}: "
        "give it the response's body as it came, before any decoding"
    )


def _check_last_event_id(value: object) -> None:
    if not isinstance(value, str):
        raise TypeError(
            f"last_event_id must be a str, not {shown(value)} ({type(value).__name__}): "
            'give the id that the stream sent last, "" for none'
        )
    if any(character in value for character in "\r\n\0"):
        raise InvalidEventError(
            f"last_event_id must not have CR, LF or NUL, as {shown(value)} has: "
            "no stream can have sent it; give the id unchanged"
        )


def _check_max_event_size(value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"max_event_size must be an int, not {shown(value)} ({type(value).__name__}): "
            "give the limit in bytes"
        )
    if value < 1:
        raise ValueError(
            f"max_event_size must be at least 1 byte, not {shown(value)}: "
            f"leave it out for {DEFAULT_MAX_EVENT_SIZE}"
        )
