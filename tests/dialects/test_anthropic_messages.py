"""Anthropic's messages: what is sent to the byte, and what other servers send."""

import pytest

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    FramingError,
    IncompleteStreamError,
    Reasoning,
    StreamFailedError,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import AnthropicMessages
from tests.dialects.streams import objects_of, read, said_by, sent_typed, whole

FRAMING = AnthropicMessages("mine", id="msg_1")


def test_a_small_stream_to_the_byte():
    assert whole(FRAMING, "Hel", "lo", Usage(9, 4)) == (
        b"event: message_start\n"
        b'data: {"type":"message_start","message":{"id":"msg_1","type":"message",'
        b'"role":"assistant","model":"mine","content":[],"stop_reason":null,"stop_sequence":null,'
        b'"usage":{"input_tokens":0,"output_tokens":0}}}\n\n'
        b"event: content_block_start\n"
        b'data: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"Hel"}}\n\n'
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,'
        b'"delta":{"type":"text_delta","text":"lo"}}\n\n'
        b"event: content_block_stop\n"
        b'data: {"type":"content_block_stop","index":0}\n\n'
        b"event: message_delta\n"
        b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
        b'"usage":{"input_tokens":9,"output_tokens":4}}\n\n'
        b"event: message_stop\n"
        b'data: {"type":"message_stop"}\n\n'
    )


def test_every_event_names_its_type():
    stream = said_by(FRAMING, "a", Reasoning("b"), ToolCall("c", {}), end="boom")
    events = EventStreamDecoder().feed(stream)
    assert [event.type for event in events] == [each["type"] for each in objects_of(stream)]


def test_blocks_are_numbered_and_one_at_a_time():
    stream = whole(FRAMING, "a", ToolCall("b", {}), ToolCall("c", {}), Reasoning("d"), "e")
    open_block, seen = None, []
    for each in objects_of(stream):
        if each["type"] == "content_block_start":
            assert open_block is None
            open_block = each["index"]
            seen.append(open_block)
        elif each["type"] == "content_block_delta":
            assert each["index"] == open_block
        elif each["type"] == "content_block_stop":
            assert each["index"] == open_block
            open_block = None
    assert (open_block, seen) == (None, [0, 1, 2, 3, 4])


def test_a_failure_to_the_byte():
    stream = said_by(FRAMING, "a", end="boom")
    assert stream.endswith(
        b'event: error\ndata: {"type":"error","error":{"type":"api_error","message":"boom"}}\n\n'
    )
    assert b"message_stop" not in stream


# Of other servers


def delta(index, **fields):
    return {"type": "content_block_delta", "index": index, "delta": fields}


def start(index, **fields):
    return {"type": "content_block_start", "index": index, "content_block": fields}


def stop(index):
    return {"type": "content_block_stop", "index": index}


def test_a_stream_of_anthropic():
    stream = sent_typed(
        {"type": "message_start", "message": {"usage": {"input_tokens": 9, "output_tokens": 1}}},
        start(0, type="thinking", thinking="", signature=""),
        {"type": "ping"},
        delta(0, type="thinking_delta", thinking="hm"),
        delta(0, type="signature_delta", signature="xyz"),
        stop(0),
        start(1, type="text", text=""),
        delta(1, type="text_delta", text="Hel"),
        delta(1, type="text_delta", text="lo"),
        delta(1, type="citations_delta", citation={}),
        stop(1),
        start(2, type="tool_use", id="t", name="look", input={}),
        delta(2, type="input_json_delta", partial_json=""),
        delta(2, type="input_json_delta", partial_json='{"a": '),
        delta(2, type="input_json_delta", partial_json="1}"),
        stop(2),
        start(3, type="tool_use", id="u", name="look", input={}),
        stop(3),
        start(4, type="server_tool_use", id="s", name="web", input={}),
        delta(4, type="input_json_delta", partial_json="{"),
        stop(4),
        {"type": "vibe_check", "of": "the future"},
        {
            "type": "message_delta",
            "delta": {"stop_reason": "tool_use", "stop_sequence": None},
            "usage": {"output_tokens": 4},
        },
        {"type": "message_stop"},
    )
    collector, complete = read(FRAMING, stream)
    assert complete
    assert collector.text == "Hello"
    assert collector.parts == (
        *(Reasoning("hm"), ToolCall("look", '{"a": 1}', "t"), ToolCall("look", "{}", "u")),
        *(Finish("tool_calls"), Usage(9, 4)),
    )


@pytest.mark.parametrize(
    ("word", "reason"),
    [("end_turn", "stop"), ("max_tokens", "length"), ("refusal", "content_filter"), ("new", "new")],
)
def test_why_it_stopped(word, reason):
    end = {"type": "message_delta", "delta": {"stop_reason": word}}
    assert read(FRAMING, sent_typed(end))[0].finish_reason == reason


def test_text_and_thinking_may_come_with_their_block():
    stream = sent_typed(start(0, type="text", text="a"), start(1, type="thinking", thinking="b"))
    collector, _ = read(FRAMING, stream)
    assert (collector.text, collector.parts) == ("a", (Reasoning("b"),))


def test_a_call_that_is_no_json_is_an_error():
    pieces = (
        start(0, type="tool_use", name="a", id="b"),
        delta(0, type="input_json_delta", partial_json="{"),
    )
    with pytest.raises(FramingError, match="tool call that is none"):
        read(FRAMING, sent_typed(*pieces, stop(0)))


def test_an_error_event_raises():
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    with pytest.raises(StreamFailedError) as caught:
        read(FRAMING, sent_typed(start(0, type="text", text="a"), error))
    assert (caught.value.message, caught.value.text) == ("Overloaded", "a")


def test_an_end_marker_of_a_proxy_is_no_end():
    with pytest.raises(IncompleteStreamError):
        read(FRAMING, sent_typed(start(0, type="text", text="a")) + b"data: [DONE]\n\n")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AnthropicMessages(""), ValueError, "model must not be empty"),
        (lambda: AnthropicMessages("m", id=b""), TypeError, "id must be a str"),
    ],
)
def test_options_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
