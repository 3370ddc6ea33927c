"""A slow decoder that follows the standard's wording, to compare the real one with."""

from collections.abc import Iterator

from sse_asgi import MessageEvent
from tests.wire.cases import BOM


def as_number(digits: str) -> int:
    number = 0
    for digit in digits:
        number = min(10 * number + "0123456789".index(digit), 2**63 - 1)
    return number


class ReferenceDecoder:
    """The standard's text, step by step, over the whole stream at once."""

    def __init__(self, stream: bytes) -> None:
        self.events: list[MessageEvent] = []
        self.last_event_id = ""
        self.reconnection_time: int | None = None
        self.data_buffer = self.event_type_buffer = self.last_event_id_buffer = ""
        for line in self.lines(stream):
            self.process(line)

    def lines(self, stream: bytes) -> Iterator[str]:
        text = stream.decode("utf-8", "replace")
        text = text[1:] if text[:1] == "\ufeff" else text
        line = previous = ""
        for character in text:
            if character == "\n" and previous == "\r":
                pass
            elif character in "\r\n":
                yield line
                line = ""
            else:
                line += character
            previous = character

    def process(self, line: str) -> None:
        if line == "":
            self.dispatch()
        elif line[0] == ":":
            pass
        elif ":" in line:
            field, value = line[: line.index(":")], line[line.index(":") + 1 :]
            self.process_field(field, value[1:] if value[:1] == " " else value)
        else:
            self.process_field(line, "")

    def process_field(self, field: str, value: str) -> None:
        if field == "event":
            self.event_type_buffer = value
        elif field == "data":
            self.data_buffer += value + "\n"
        elif field == "id" and "\0" not in value:
            self.last_event_id_buffer = value
        elif field == "retry" and value and all(digit in "0123456789" for digit in value):
            self.reconnection_time = as_number(value)

    def dispatch(self) -> None:
        self.last_event_id = self.last_event_id_buffer
        if self.data_buffer == "":
            self.event_type_buffer = ""
            return
        data = self.data_buffer[:-1] if self.data_buffer[-1] == "\n" else self.data_buffer
        self.events.append(
            MessageEvent(data, self.event_type_buffer or "message", self.last_event_id)
        )
        self.data_buffer = self.event_type_buffer = ""


def size_of_largest_event(stream: bytes) -> int:
    """Measure events as the docstring of EventStreamDecoder defines their size."""
    if BOM.startswith(stream):
        return 0
    lines = stream.removeprefix(BOM).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    unfinished = lines.pop()
    size = largest = 0
    for line in lines:
        largest = max(largest, size + len(line) + (line[:1] not in (b"", b":")))
        size = size if line[:1] == b":" else size + len(line) + 1 if line else 0
    return max(largest, size + len(unfinished))
