"""Streams of every dialect, written by its encoder and read by our own collector."""

import json

from sse_asgi import EventStreamDecoder, Finish, Framing, Outcome, Part, ServerSentEvent, Usage
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.wire.text import TextCollector

FRAMINGS: dict[str, Framing] = {
    "chat": ChatCompletions("mine", include_usage=True),
    "responses": Responses("mine"),
    "anthropic": AnthropicMessages("mine"),
    "ui": UIMessages(),
    "ag-ui": AGUI(thread_id="t", run_id="r"),
}


def said_by(framing: Framing, *said: str | list[str] | Part, end: Outcome | str | None) -> bytes:
    """The bytes of one stream. `end`: an outcome, the message of a failure, None for a cut one."""
    encoder = framing.encoder()
    stream = encoder.begin()
    for each in said:
        if isinstance(each, str | list):
            stream += encoder.text([each] if isinstance(each, str) else each)
        else:
            stream += encoder.part(each)
    if isinstance(end, Outcome):
        return stream + encoder.end(end)
    return stream if end is None else stream + encoder.fail(end, Outcome.FAILED)


def whole(framing: Framing, *said: str | list[str] | Part) -> bytes:
    return said_by(framing, *said, end=Outcome.COMPLETED)


def read(framing: Framing, *pieces: bytes) -> tuple[TextCollector, bool]:
    """What a client has read, and whether the stream is complete."""
    decoder, collector = EventStreamDecoder(), TextCollector(framing)
    for piece in pieces:
        for event in decoder.feed(piece):
            if collector.add(event):
                return collector, True
    return collector, False


def in_order(parts: tuple[Part, ...]) -> list[Part]:
    """The parts that are sent at once: not those that wait for the end."""
    return [part for part in parts if not isinstance(part, Finish | Usage)]


def objects_of(stream: bytes) -> list[dict[str, object]]:
    """The objects that a stream's events hold."""
    events = EventStreamDecoder().feed(stream)
    return [json.loads(event.data) for event in events if event.data != "[DONE]"]


def sent(*objects: object, done: bool = False) -> bytes:
    """A stream of another server: each object is an event's data."""
    events = [ServerSentEvent(data=json.dumps(each)).encode() for each in objects]
    return b"".join(events) + b"data: [DONE]\n\n" * done


def sent_typed(*objects: dict[str, object]) -> bytes:
    """The same, each event of the type that its object names."""
    return b"".join(
        ServerSentEvent(event=str(each["type"]), data=json.dumps(each)).encode() for each in objects
    )
