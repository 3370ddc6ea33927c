"""Answers that do not stream, made of the events that would have been one."""

import json
from typing import Any, cast

from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.parts import Reasoning, ToolCall


def events_of(framing: Framing, transcript: Transcript) -> list[dict[str, Any]]:
    """Return the objects that a stream of this transcript sends.

    Reasoning comes first, then the text, tool calls, usage, and the reason to finish.
    """
    encoder = framing.encoder()
    encoded = [encoder.begin()]
    reasoning = reasoning_of(transcript)
    if reasoning:
        encoded.append(encoder.part(Reasoning(reasoning)))
    if transcript.text:
        encoded.append(encoder.text([transcript.text]))
    encoded += [encoder.part(part) for part in transcript.parts if not isinstance(part, Reasoning)]
    encoded.append(encoder.end())
    size = sum(map(len, encoded))
    events = EventStreamDecoder(max_event_size=size + 1).feed(b"".join(encoded))
    return [
        cast("dict[str, Any]", json.loads(each.data)) for each in events if each.data != "[DONE]"
    ]


def reasoning_of(transcript: Transcript) -> str:
    """Return the reasoning of a transcript, "" for none."""
    return "".join(part.text for part in transcript.parts if isinstance(part, Reasoning))


def calls_of(transcript: Transcript) -> list[ToolCall]:
    """Return the tool calls of a transcript."""
    return [part for part in transcript.parts if isinstance(part, ToolCall)]
