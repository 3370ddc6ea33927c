"""Parts as events of their own types."""

import pytest

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    JSONFraming,
    MessageEvent,
    Reasoning,
    TextFraming,
    ToolCall,
    Usage,
)
from sse_asgi.wire.typed_events import decode_typed


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
@pytest.mark.parametrize(
    ("part", "stream"),
    [
        (Reasoning("h\u2028\n"), b'event: reasoning\ndata: {"text":"h\\u2028\\n"}\n\n'),
        (
            ToolCall("look", '{"a": 1}', "c1"),
            b'event: tool_call\ndata: {"id":"c1","name":"look","arguments":"{\\"a\\": 1}"}\n\n',
        ),
        (Usage(9, None), b'event: usage\ndata: {"input_tokens":9,"output_tokens":null}\n\n'),
        (Finish("st\ud800p"), 'event: finish\ndata: {"reason":"st\ufffdp"}\n\n'.encode()),
    ],
)
def test_a_part_is_an_event_of_its_own_type(part, stream, framing):
    encoder = framing.encoder()
    assert encoder.part(part) == stream
    (event,) = EventStreamDecoder().feed(stream)
    assert encoder.part(decode_typed(event)) == stream


@pytest.mark.parametrize("kind", ["reasoning", "tool_call", "usage", "finish", "ping", "toString"])
@pytest.mark.parametrize(
    "data",
    [
        *("", "x", "{}", "[]", "null", '"text"', '{"text": 7}', '{"reason": ""}', '{"reason": []}'),
        *('{"id": "a", "name": "b", "arguments": "{"}', '{"id": "", "name": "b", "arguments": ""}'),
        *('{"input_tokens": -1, "output_tokens": 1}', '{"input_tokens": true}', "{" * 10**5),
    ],
)
def test_an_event_of_the_users_own_is_nothing_of_ours(kind, data):
    assert decode_typed(MessageEvent(data, kind)) == ""
