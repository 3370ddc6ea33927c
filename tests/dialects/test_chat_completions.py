"""OpenAI's chat completions: what is sent to the byte, and what other servers send."""

import re
from itertools import pairwise

import pytest

from sse_asgi import (
    Finish,
    FramingError,
    IncompleteStreamError,
    MessageEvent,
    Outcome,
    Reasoning,
    StreamFailedError,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import ChatCompletions
from tests.dialects.streams import objects_of, read, said_by, sent, whole

FRAMING = ChatCompletions("mine", id="c-1")


def chunk(delta=None, finish_reason=None, **fields):
    return {
        "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish_reason}],
        **fields,
    }


def call_chunk(index, *, name=None, call_id=None, arguments=""):
    function = {"arguments": arguments} | ({"name": name} if name else {})
    ids = {"id": call_id} if call_id else {}
    return chunk({"tool_calls": [{"index": index, "function": function, **ids}]})


def test_a_small_stream_to_the_byte():
    stream = re.sub(rb'"created":\d+', b'"created":1', whole(FRAMING, "Hel", "lo"))
    head = (
        b'data: {"id":"c-1","object":"chat.completion.chunk","created":1,"model":"mine","choices":'
    )
    choice = b'[{"index":0,"delta":%b,"logprobs":null,"finish_reason":%b}]}\n\n'
    assert stream == b"".join(
        [
            head + choice % (b'{"role":"assistant","content":""}', b"null"),
            head + choice % (b'{"content":"Hel"}', b"null"),
            head + choice % (b'{"content":"lo"}', b"null"),
            head + choice % (b"{}", b'"stop"'),
            b"data: [DONE]\n\n",
        ]
    )


def test_chunks_that_leave_together_are_one_delta():
    encoder = FRAMING.encoder()
    encoder.begin()
    assert encoder.text(["a", "", "b"]).count(b'"content":"ab"') == 1
    assert encoder.text([""]) == b""


def test_usage_is_sent_last_and_only_if_asked_for():
    said = [Usage(1, 1), "a", Usage(9, 4), "b"]
    assert b"usage" not in whole(FRAMING, *said)
    asked = ChatCompletions("mine", include_usage=True)
    *rest, last = objects_of(whole(asked, *said))
    assert {each["usage"] for each in rest} == {None}
    assert last["choices"] == []
    assert last["usage"] == {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


def test_usage_is_never_invented():
    asked = ChatCompletions("mine", include_usage=True)
    assert objects_of(whole(asked, "a"))[-1]["choices"] != []
    last = objects_of(whole(asked, "a", Usage(9)))[-1]
    assert last["usage"] == {"prompt_tokens": 9, "completion_tokens": None, "total_tokens": None}


@pytest.mark.parametrize(
    ("said", "end", "reason"),
    [
        ([], Outcome.COMPLETED, "stop"),
        ([ToolCall("a", "")], Outcome.COMPLETED, "tool_calls"),
        ([ToolCall("a", ""), Finish("stop")], Outcome.COMPLETED, "stop"),
        ([Finish("length"), Finish("mine")], Outcome.COMPLETED, "mine"),
        ([ToolCall("a", ""), Finish("length")], Outcome.STOPPED, "stop"),
    ],
)
def test_why_it_finished(said, end, reason):
    last = objects_of(said_by(FRAMING, *said, end=end))[-1]
    assert last["choices"][0]["finish_reason"] == reason


def test_only_the_last_chunk_finishes():
    chunks = objects_of(whole(FRAMING, "a", Finish("stop"), "b"))
    assert [each["choices"][0]["finish_reason"] for each in chunks] == [None] * 3 + ["stop"]


def test_a_failure_has_no_end_marker_and_no_finish_reason():
    stream = said_by(FRAMING, "a", end="boom")
    assert stream.endswith(
        b'data: {"error":{"message":"boom","type":"server_error","param":null,"code":null}}\n\n'
    )
    assert b"[DONE]" not in stream
    assert b'"finish_reason":"' not in stream


def test_tool_calls_are_counted():
    chunks = objects_of(whole(FRAMING, ToolCall("a", "", "1"), "x", ToolCall("b", "[1]", "2")))
    calls = [each["choices"][0]["delta"].get("tool_calls") for each in chunks]
    assert [call[0] for call in calls if call] == [
        {"index": 0, "id": "1", "type": "function", "function": {"name": "a", "arguments": "{}"}},
        {"index": 1, "id": "2", "type": "function", "function": {"name": "b", "arguments": "[1]"}},
    ]


def test_ids_are_of_the_stream():
    framing = ChatCompletions("mine")
    one, other = objects_of(whole(framing, "a")), objects_of(whole(framing, "a"))
    assert all(a["id"] == b["id"] for a, b in pairwise(one))
    assert one[0]["id"] != other[0]["id"]
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", str(one[0]["id"]))


# Of other servers


def collected(*objects, done=True):
    collector, complete = read(FRAMING, sent(*objects, done=done))
    return collector, complete


def test_calls_in_pieces_become_whole():
    collector, complete = collected(
        chunk({"role": "assistant", "content": None}),
        call_chunk(0, name="a", call_id="1"),
        call_chunk(0, arguments='{"x"'),
        call_chunk(0, arguments=": 1}"),
        call_chunk(1, name="b", call_id="2", arguments=""),
        chunk({}, "tool_calls"),
        {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    )
    assert complete
    assert collector.parts == (
        ToolCall("a", '{"x": 1}', "1"),
        ToolCall("b", "{}", "2"),
        Finish("tool_calls"),
        Usage(9, 4),
    )


def test_calls_may_be_interleaved():
    collector, _ = collected(
        call_chunk(0, name="a", call_id="1", arguments="["),
        call_chunk(1, name="b", call_id="2", arguments="{"),
        call_chunk(0, arguments="]"),
        call_chunk(1, arguments="}"),
        chunk({}, "tool_calls"),
    )
    assert collector.parts[:2] == (ToolCall("a", "[]", "1"), ToolCall("b", "{}", "2"))


def test_calls_may_lack_numbers_and_repeat_their_names():
    collector, _ = collected(
        call_chunk(None, name="a", call_id="1", arguments="["),
        call_chunk(None, name="a", call_id="1", arguments="1"),
        call_chunk(None, name="a", arguments="]"),
        call_chunk(None, name="b", call_id="2", arguments="{}"),
        chunk({}, "tool_calls"),
    )
    assert collector.parts[:2] == (ToolCall("a", "[1]", "1"), ToolCall("b", "{}", "2"))


def test_a_call_without_an_id_is_given_one():
    collector, _ = collected(call_chunk(0, name="a"), chunk({}, "tool_calls"))
    assert collector.parts[0].id.startswith("call_")


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ['{"x": ', ""])
def test_a_call_that_was_cut_is_none(reason, arguments):
    collector, complete = collected(
        call_chunk(0, name="a", call_id="1", arguments="{}"),
        call_chunk(1, name="b", call_id="2", arguments=arguments),
        chunk({}, reason),
    )
    assert complete
    assert collector.parts == (ToolCall("a", "{}", "1"), Finish(reason))


def test_a_call_that_is_no_json_is_an_error():
    with pytest.raises(FramingError, match="tool call that is none: arguments must be JSON"):
        collected(call_chunk(0, name="a", call_id="1", arguments="{"), chunk({}, "tool_calls"))


@pytest.mark.parametrize("name", ["reasoning_content", "reasoning"])
def test_reasoning_of_model_servers(name):
    collector, _ = collected(
        chunk({name: "h", "content": None}), chunk({name: "m", "content": "a"}), chunk({}, "stop")
    )
    assert collector.parts == (Reasoning("h"), Reasoning("m"), Finish("stop"))
    assert collector.text == "a"


def test_reasoning_that_is_said_twice_is_read_once():
    collector, _ = collected(chunk({"reasoning": "h", "reasoning_content": "h"}), chunk({}, "stop"))
    assert collector.parts == (Reasoning("h"), Finish("stop"))


def test_a_refusal_and_an_older_completion_are_text():
    older = {"choices": [{"text": "b", "index": 0, "finish_reason": None}]}
    collector, _ = collected(chunk({"refusal": "a"}), older, chunk({}, "stop"))
    assert collector.text == "ab"


def test_only_the_first_choice_is_read():
    second = {"index": 1, "delta": {"content": "x"}, "finish_reason": "length"}
    collector, _ = collected({"choices": [second, {"delta": {"content": "a"}}]}, chunk({}, "stop"))
    assert (collector.text, collector.finish_reason) == ("a", "stop")


def test_unknown_objects_are_let_pass_after_the_first():
    collector, complete = collected(chunk({"content": "a"}), {"type": "x"}, chunk({}, "stop"))
    assert (collector.text, complete) == ("a", True)


def test_usage_in_every_chunk_counts_as_the_last():
    def counts(number):
        return {"usage": {"prompt_tokens": 9, "completion_tokens": number}}

    collector, _ = collected(chunk({"content": "a"}, **counts(1)), chunk({}, "stop", **counts(4)))
    assert collector.usage == Usage(9, 4)


def test_without_its_end_marker_it_is_not_complete():
    assert not collected(chunk({"content": "a"}), chunk({}, "stop"), done=False)[1]
    with pytest.raises(IncompleteStreamError):
        collected(chunk({"content": "a"}))


@pytest.mark.parametrize("error", [{"message": "boom", "type": "x"}, "boom"])
@pytest.mark.parametrize("before", [[], [chunk({"content": "Hel"})]])
def test_an_error_in_the_place_of_a_chunk(error, before):
    with pytest.raises(StreamFailedError) as caught:
        collected(*before, {"error": error})
    assert caught.value.message == "boom"


def test_an_error_without_words_is_one():
    with pytest.raises(StreamFailedError, match="the server gave no reason"):
        collected({"error": {"code": 7}})


def test_a_typed_event_without_an_object_is_let_pass():
    assert FRAMING.decoder()(MessageEvent("x", "ping")) == ""


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ChatCompletions(""), ValueError, "model must not be empty: give the model's name"),
        (lambda: ChatCompletions(None), TypeError, r"model must be a str, not None"),
        (lambda: ChatCompletions("m", id=""), ValueError, "id must not be empty: give an id, or"),
        (lambda: ChatCompletions("m", id=7), TypeError, r"id must be a str, not 7 \(int\)"),
        (lambda: ChatCompletions("m", include_usage=1), TypeError, "include_usage must be a bool"),
    ],
)
def test_options_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()
