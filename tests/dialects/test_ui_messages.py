"""The AI SDK's UI messages: what is sent to the byte, and what other servers send."""

import pytest

from sse_asgi import (
    Finish,
    Outcome,
    Reasoning,
    StreamFailedError,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import UIMessages
from tests.dialects.streams import objects_of, read, said_by, sent, whole

FRAMING = UIMessages(message_id="m-1")
COMMON = {
    *("start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"),
    *("reasoning-start", "reasoning-delta", "reasoning-end", "abort", "error", "message-metadata"),
    *("tool-input-start", "tool-input-delta", "tool-input-available"),
}


def test_the_header_names_the_protocol():
    assert FRAMING.headers == {"x-vercel-ai-ui-message-stream": "v1"}


def test_a_small_stream_to_the_byte():
    assert whole(FRAMING, "Hel", "lo") == (
        b'data: {"type":"start","messageId":"m-1"}\n\n'
        b'data: {"type":"start-step"}\n\n'
        b'data: {"type":"text-start","id":"text-0"}\n\n'
        b'data: {"type":"text-delta","id":"text-0","delta":"Hel"}\n\n'
        b'data: {"type":"text-delta","id":"text-0","delta":"lo"}\n\n'
        b'data: {"type":"text-end","id":"text-0"}\n\n'
        b'data: {"type":"finish-step"}\n\n'
        b'data: {"type":"finish","finishReason":"stop"}\n\n'
        b"data: [DONE]\n\n"
    )


@pytest.mark.parametrize("end", [Outcome.COMPLETED, Outcome.STOPPED, "boom"])
def test_only_what_every_version_knows_is_sent(end):
    said = ["a", Reasoning("b"), ToolCall("c", {}), "d", Usage(9, 4), Finish("mine")]
    assert {each["type"] for each in objects_of(said_by(FRAMING, *said, end=end))} <= COMMON


def test_blocks_have_ids_of_their_own_and_are_closed():
    open_ids: set[object] = set()
    seen: list[object] = []
    for each in objects_of(whole(FRAMING, "a", Reasoning("b"), "c", ToolCall("d", {}), "e")):
        kind = str(each["type"])
        if kind in ("text-start", "reasoning-start"):
            assert not open_ids
            assert each["id"] not in seen
            open_ids.add(each["id"])
            seen.append(each["id"])
        elif kind in ("text-delta", "reasoning-delta"):
            assert each["id"] in open_ids
        elif kind in ("text-end", "reasoning-end"):
            open_ids.remove(each["id"])
    assert not open_ids
    assert len(seen) == 4


def test_a_tool_call_gives_its_input_as_it_is():
    call = ToolCall("look", ' {"a":\r\n"\u2028"}', "c1")
    stream = whole(FRAMING, call)
    assert b'"input": {"a":  "\\u2028"}}\n\n' in stream
    calls = [each for each in objects_of(stream) if str(each["type"]).startswith("tool")]
    assert calls == [
        {"type": "tool-input-start", "toolCallId": "c1", "toolName": "look"},
        {"type": "tool-input-delta", "toolCallId": "c1", "inputTextDelta": call.arguments},
        {
            "type": "tool-input-available",
            "toolCallId": "c1",
            "toolName": "look",
            "input": {"a": "\u2028"},
        },
    ]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([ToolCall("a", "")], "tool-calls"),
        ([Finish("content_filter")], "content-filter"),
        ([Finish("length")], "length"),
        ([Finish("content-filter")], "content-filter"),
        ([Finish("error")], "error"),
        ([Finish("interrupted")], "other"),
        ([Finish("mine")], "other"),
    ],
)
def test_reasons_are_of_a_closed_list(said, reason):
    assert objects_of(whole(FRAMING, *said))[-1]["finishReason"] == reason


def test_usage_is_in_the_messages_metadata():
    last = objects_of(whole(FRAMING, Usage(9, 4), "a"))[-1]
    usage = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}
    assert last["messageMetadata"] == {"usage": usage}
    assert objects_of(whole(FRAMING, Usage(9)))[-1]["messageMetadata"] == {
        "usage": {"inputTokens": 9}
    }


def test_a_stopped_stream_is_aborted():
    stream = said_by(FRAMING, "a", end=Outcome.STOPPED)
    assert stream.endswith(
        b'data: {"type":"text-end","id":"text-0"}\n\ndata: {"type":"abort"}\n\ndata: [DONE]\n\n'
    )


def test_a_failure_has_no_end():
    stream = said_by(FRAMING, "a", end="boom")
    assert stream.endswith(b'data: {"type":"error","errorText":"boom"}\n\n')
    assert b"finish" not in stream


# Of other servers


def test_a_stream_of_the_ai_sdk():
    stream = sent(
        {"type": "start"},
        {"type": "start-step"},
        {"type": "data-weather", "data": {}},
        {"type": "reasoning-start", "id": "r"},
        {"type": "reasoning-delta", "id": "r", "delta": "hm"},
        {"type": "text-delta", "id": "0", "delta": "Hel"},
        {"type": "tool-input-start", "toolCallId": "c", "toolName": "look"},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": '{"a":'},
        {"type": "tool-input-delta", "toolCallId": "c", "inputTextDelta": "1}"},
        {"type": "tool-input-available", "toolCallId": "c", "toolName": "look", "input": {"a": 1}},
        {"type": "tool-input-available", "toolCallId": "d", "toolName": "see", "input": [2]},
        {"type": "tool-output-available", "toolCallId": "c", "output": 3},
        {"type": "finish-step"},
        {"type": "of-version-nine"},
        {"type": "text-delta", "id": "1", "delta": "lo"},
        {"type": "finish", "finishReason": "tool-calls"},
        done=True,
    )
    collector, complete = read(FRAMING, stream)
    assert complete
    assert collector.text == "Hello"
    assert collector.parts == (
        *(Reasoning("hm"), ToolCall("look", '{"a":1}', "c"), ToolCall("see", "[2]", "d")),
        Finish("tool_calls"),
    )


def test_a_finish_may_give_no_reason():
    collector, complete = read(FRAMING, sent({"type": "start"}, {"type": "finish"}))
    assert (collector.parts, complete) == ((), True)


@pytest.mark.parametrize("reason", ["error", "interrupted"])
def test_an_answer_that_broke_off_is_a_failure(reason):
    stream = sent({"type": "text-delta", "delta": "a"}, {"type": "finish", "finishReason": reason})
    with pytest.raises(StreamFailedError, match=f'finish reason is "{reason}"') as caught:
        read(FRAMING, stream)
    assert caught.value.text == "a"


def test_an_error_part_raises():
    with pytest.raises(StreamFailedError) as caught:
        read(FRAMING, sent({"type": "start"}, {"type": "error", "errorText": "boom"}, done=True))
    assert caught.value.message == "boom"


def test_options_are_checked():
    assert objects_of(UIMessages().encoder().begin())[0]["messageId"]
    with pytest.raises(ValueError, match="message_id must not be empty"):
        UIMessages(message_id="")
    with pytest.raises(TypeError, match="message_id must be a str, not 7"):
        UIMessages(message_id=7)
