"""OpenAI's Responses API and Open Responses: the rules, and what other servers send."""

import json

import pytest

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    Outcome,
    Reasoning,
    StreamFailedError,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import Responses
from tests.dialects.streams import objects_of, read, said_by, sent_typed, whole

FRAMING = Responses("mine", id="resp_1")
SAID = ["a", Reasoning("r"), "b", ToolCall("look", {"x": 1}, "c1"), Usage(9, 4)]


def test_a_delta_to_the_byte():
    encoder = FRAMING.encoder()
    encoder.begin()
    encoder.text(["x"])
    (event,) = EventStreamDecoder().feed(encoder.text(["a\n", "b"]))
    item_id = json.loads(event.data)["item_id"]
    assert event.data == (
        f'{{"type":"response.output_text.delta","item_id":"{item_id}","output_index":0,'
        '"content_index":0,"logprobs":[],"delta":"a\\nb","sequence_number":5}'
    )


@pytest.mark.parametrize("end", [Outcome.COMPLETED, Outcome.STOPPED, "boom"])
def test_events_are_numbered_and_name_their_type(end):
    stream = said_by(FRAMING, *SAID, end=end)
    events = EventStreamDecoder().feed(stream)
    assert events[-1].data == "[DONE]"
    for number, event in enumerate(events[:-1]):
        value = json.loads(event.data)
        assert event.type == value["type"]
        assert value["sequence_number"] == number
    assert b"\nid:" not in stream
    assert not stream.startswith(b"id:")


def test_the_order_of_a_whole_stream():
    kinds = [
        str(each["type"]).removeprefix("response.") for each in objects_of(whole(FRAMING, *SAID))
    ]
    text = [
        *("output_item.added", "content_part.added", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
    ]
    assert kinds == [
        *("created", "in_progress"),
        *text,
        *("output_item.added", "reasoning_summary_part.added", "reasoning_summary_text.delta"),
        *("reasoning_summary_text.done", "reasoning_summary_part.done", "output_item.done"),
        *text,
        *("output_item.added", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]


def test_what_is_done_repeats_what_was_said():
    objects = objects_of(whole(FRAMING, "a", "b", ["c", "d"], Reasoning("r")))
    done = {each["type"]: each for each in objects if str(each["type"]).endswith("done")}
    assert done["response.output_text.done"]["text"] == "abcd"
    assert done["response.content_part.done"]["part"]["text"] == "abcd"
    last = objects[-1]["response"]
    assert last["output"][0]["content"][0]["text"] == "abcd"
    assert last["output"] == [
        each["item"] for each in objects if each["type"] == "response.output_item.done"
    ]
    assert last["completed_at"] >= last["created_at"]


def test_a_response_has_every_field_that_open_responses_asks_for():
    required = {
        *("id", "object", "created_at", "completed_at", "status", "incomplete_details", "model"),
        *("previous_response_id", "instructions", "output", "error", "tools", "tool_choice"),
        *("truncation", "parallel_tool_calls", "text", "top_p", "presence_penalty"),
        *("frequency_penalty", "top_logprobs", "temperature", "reasoning", "usage"),
        *("max_output_tokens", "max_tool_calls", "store", "background", "service_tier"),
        *("metadata", "safety_identifier", "prompt_cache_key"),
    }
    for each in objects_of(whole(FRAMING, *SAID)) + objects_of(said_by(FRAMING, end="boom")):
        if "response" in each:
            assert each["response"].keys() >= required
            assert (each["response"]["id"], each["response"]["model"]) == ("resp_1", "mine")


@pytest.mark.parametrize(
    ("said", "end", "kind", "status", "item_status"),
    [
        (["a"], Outcome.COMPLETED, "completed", "completed", "completed"),
        (["a", Finish("mine")], Outcome.COMPLETED, "completed", "completed", "completed"),
        (["a", Finish("length")], Outcome.COMPLETED, "incomplete", "incomplete", "incomplete"),
        (
            *(["a", Finish("content_filter")], Outcome.COMPLETED),
            *("incomplete", "incomplete", "incomplete"),
        ),
        (["a", Finish("length")], Outcome.STOPPED, "incomplete", "cancelled", "incomplete"),
    ],
)  # fmt: skip
def test_the_status_tells_how_it_ended(said, end, kind, status, item_status):
    last = objects_of(said_by(FRAMING, *said, end=end))[-1]
    assert last["type"] == f"response.{kind}"
    assert last["response"]["status"] == status
    assert last["response"]["output"][0]["status"] == item_status
    assert (last["response"]["completed_at"] is None) == (kind == "incomplete")


def test_a_failure_is_an_error_and_then_a_failed_response():
    *_, error, failed = objects_of(said_by(FRAMING, "a", end="boom"))
    assert error["error"] == {
        "type": "server_error", "code": "server_error", "message": "boom", "param": None
    }  # fmt: skip
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": "boom"}


def test_usage_is_never_invented():
    assert objects_of(whole(FRAMING, "a"))[-1]["response"]["usage"] is None
    usage = objects_of(whole(FRAMING, "a", Usage(9)))[-1]["response"]["usage"]
    assert (usage["input_tokens"], usage["output_tokens"], usage["total_tokens"]) == (9, None, None)


# Of other servers

RESPONSE = {"id": "r", "status": "completed", "output": []}


def test_a_stream_of_openai():
    stream = sent_typed(
        {"type": "response.created", "response": RESPONSE},
        {"type": "response.reasoning_summary_text.delta", "delta": "a"},
        {"type": "response.reasoning_text.delta", "delta": "b"},
        {"type": "response.reasoning.delta", "delta": "c"},
        {"type": "response.web_search_call.searching", "item_id": "w"},
        {"type": "response.output_text.delta", "delta": "Hel", "obfuscation": "xyz"},
        {"type": "response.refusal.delta", "delta": "lo"},
        {"type": "response.output_item.added", "item": {"type": "function_call", "name": "f"}},
        {"type": "response.function_call_arguments.delta", "delta": '{"a'},
        {
            "type": "response.output_item.done",
            "item": {"type": "function_call", "call_id": "c", "name": "f", "arguments": '{"a":1}'},
        },
        {
            "type": "response.completed",
            "response": {**RESPONSE, "usage": {"input_tokens": 9, "output_tokens": 4}},
        },
    )
    collector, complete = read(FRAMING, stream)
    assert complete
    assert collector.text == "Hello"
    assert collector.parts == (
        *(Reasoning("a"), Reasoning("b"), Reasoning("c"), ToolCall("f", '{"a":1}', "c")),
        *(Finish("tool_calls"), Usage(9, 4)),
    )


@pytest.mark.parametrize(
    ("response", "kind", "reason"),
    [
        ({"incomplete_details": {"reason": "max_output_tokens"}}, "incomplete", "length"),
        ({"incomplete_details": {"reason": "content_filter"}}, "incomplete", "content_filter"),
        ({"incomplete_details": {"reason": "steered"}}, "incomplete", "steered"),
        ({"status": "cancelled"}, "cancelled", "stop"),
        ({"status": "completed"}, "completed", "stop"),
    ],
)
def test_why_a_response_ended(response, kind, reason):
    collector, complete = read(
        FRAMING, sent_typed({"type": f"response.{kind}", "response": response})
    )
    assert (collector.finish_reason, complete) == (reason, True)


def test_a_call_that_was_cut_is_none():
    item = {"type": "function_call", "name": "f", "arguments": '{"a', "status": "incomplete"}
    stream = sent_typed({"type": "response.output_item.done", "item": item})
    assert read(FRAMING, stream)[0].parts == ()


@pytest.mark.parametrize(
    "value",
    [
        {"type": "error", "message": "boom", "code": None, "param": None},
        {"type": "error", "error": {"message": "boom"}},
        {"type": "response.failed", "response": {"error": {"message": "boom"}}},
    ],
)
@pytest.mark.parametrize("is_typed", [True, False])
def test_every_shape_of_a_failure_raises(value, is_typed):
    stream = sent_typed(value)
    if not is_typed:
        stream = stream.partition(b"\n")[2]
    with pytest.raises(StreamFailedError) as caught:
        read(FRAMING, stream)
    assert caught.value.message == "boom"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Responses(""), ValueError, "model must not be empty"),
        (lambda: Responses(b"m"), TypeError, "model must be a str"),
        (lambda: Responses("m", id=""), ValueError, "id must not be empty"),
    ],
)
def test_options_are_checked(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("value", [1, None, "true"])
def test_background_is_true_or_false(value):
    with pytest.raises(TypeError, match="background must be True or False"):
        Responses("m", background=value)
