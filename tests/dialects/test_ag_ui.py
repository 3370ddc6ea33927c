"""AG-UI: what is sent to the byte, and what other servers send."""

import re

import pytest

from sse_asgi import (
    Finish,
    IncompleteStreamError,
    Outcome,
    Reasoning,
    StreamFailedError,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import AGUI
from tests.dialects.streams import objects_of, read, said_by, sent, whole

FRAMING = AGUI(thread_id="t", run_id="r")


def test_a_small_stream_to_the_byte():
    stream = re.sub(rb"msg_[0-9a-f]{32}", b"m", whole(FRAMING, "Hel", "lo", Usage(9, 4)))
    assert stream == (
        b'data: {"type":"RUN_STARTED","threadId":"t","runId":"r"}\n\n'
        b'data: {"type":"TEXT_MESSAGE_START","messageId":"m","role":"assistant"}\n\n'
        b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"Hel"}\n\n'
        b'data: {"type":"TEXT_MESSAGE_CONTENT","messageId":"m","delta":"lo"}\n\n'
        b'data: {"type":"TEXT_MESSAGE_END","messageId":"m"}\n\n'
        b'data: {"type":"RUN_FINISHED","threadId":"t","runId":"r","outcome":{"type":"success"},'
        b'"metadata":{"finishReason":"stop"},'
        b'"usage":[{"inputTokens":9,"outputTokens":4,"totalTokens":13}]}\n\n'
    )


def test_there_is_no_end_marker():
    for end in (Outcome.COMPLETED, Outcome.STOPPED, "boom"):
        assert b"[DONE]" not in said_by(FRAMING, "a", end=end)


def test_messages_are_closed_before_the_next_begins():
    said = ["a", Reasoning("b"), ToolCall("look", {"x": 1}, "c1"), "d"]
    kinds = [each["type"] for each in objects_of(whole(FRAMING, *said))]
    text = ["TEXT_MESSAGE_START", "TEXT_MESSAGE_CONTENT", "TEXT_MESSAGE_END"]
    assert kinds == [
        "RUN_STARTED",
        *text,
        *("REASONING_START", "REASONING_MESSAGE_START", "REASONING_MESSAGE_CONTENT"),
        *("REASONING_MESSAGE_END", "REASONING_END"),
        *("TOOL_CALL_START", "TOOL_CALL_ARGS", "TOOL_CALL_END"),
        *text,
        "RUN_FINISHED",
    ]


def test_messages_have_ids_of_their_own():
    starts = [
        each["messageId"]
        for each in objects_of(whole(FRAMING, "a", ToolCall("b", {}), "c") + whole(FRAMING, "d"))
        if each["type"] == "TEXT_MESSAGE_START"
    ]
    assert len(set(starts)) == 3


def test_a_stopped_run_is_cancelled():
    *_, closing, last = objects_of(said_by(FRAMING, "a", end=Outcome.STOPPED))
    assert closing["type"] == "TEXT_MESSAGE_END"
    assert last == {
        "type": "RUN_FINISHED", "threadId": "t", "runId": "r", "outcome": {"type": "cancelled"}
    }  # fmt: skip


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN])
def test_a_failure_is_an_error_of_the_run(outcome):
    (value,) = objects_of(FRAMING.encoder().fail("boom", outcome))
    assert value == {"type": "RUN_ERROR", "message": "boom", "code": outcome.value}


# Of other servers


def test_a_stream_of_another_agent():
    stream = sent(
        {"type": "RUN_STARTED", "threadId": "t", "runId": "r"},
        {"type": "STATE_SNAPSHOT", "snapshot": {}},
        {"type": "REASONING_MESSAGE_CHUNK", "messageId": "1", "delta": "hm"},
        {"type": "TEXT_MESSAGE_CHUNK", "messageId": "2", "delta": "Hel"},
        {"type": "TEXT_MESSAGE_CONTENT", "messageId": "2", "delta": "lo"},
        {"type": "TOOL_CALL_START", "toolCallId": "c", "toolCallName": "look"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "[1"},
        {"type": "TOOL_CALL_ARGS", "toolCallId": "c", "delta": "]"},
        {"type": "TOOL_CALL_END", "toolCallId": "c"},
        {"type": "TOOL_CALL_CHUNK", "toolCallId": "d", "toolCallName": "see", "delta": "{"},
        {"type": "TOOL_CALL_CHUNK", "delta": "}"},
        {
            "type": "RUN_FINISHED",
            "usage": [{"inputTokens": 4, "outputTokens": 4}, {"inputTokens": 5}, {"model": "m"}],
        },
    )
    collector, complete = read(FRAMING, stream)
    assert complete
    assert collector.text == "Hello"
    assert collector.parts == (
        *(Reasoning("hm"), ToolCall("look", "[1]", "c"), ToolCall("see", "{}", "d")),
        Usage(9, 4),
    )


def test_an_end_marker_is_no_end():
    with pytest.raises(IncompleteStreamError):
        read(FRAMING, sent({"type": "RUN_STARTED"}, done=True))


def test_an_error_of_the_run_raises():
    with pytest.raises(StreamFailedError) as caught:
        read(FRAMING, sent({"type": "RUN_ERROR", "message": "boom"}))
    assert caught.value.message == "boom"


def test_the_finish_reason_is_in_the_metadata():
    assert read(FRAMING, whole(FRAMING, Finish("mine")))[0].finish_reason == "mine"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: AGUI(thread_id="", run_id="r"), ValueError, "thread_id must not be empty"),
        (lambda: AGUI(thread_id="t", run_id=None), TypeError, "run_id must be a str, not None"),
        (lambda: AGUI("t", "r"), TypeError, "positional"),
    ],
)
def test_options_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
