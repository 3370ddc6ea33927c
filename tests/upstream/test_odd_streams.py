"""Streams that cut a call short, that fail in their last word, or that speak an older dialect."""

import pytest

from sse_asgi import Finish, Reasoning, ToolCall, Usage
from sse_asgi.errors import UpstreamFailedError
from tests.upstream.recorded import ANTHROPIC, CHAT, RESPONSES, Upstream
from tests.upstream.streams import ASYNC

pytestmark = pytest.mark.anyio

CHAT_WAY, RESPONSES_WAY, ANTHROPIC_WAY = ASYNC[0], ASYNC[2], ASYNC[4]


async def read(way, events):
    return [item async for item in way.open(Upstream(events=events))]


def chunk(reason=None, **delta):
    return CHAT[0] | {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}


def call(**function):
    return {"index": 0, "id": "call_1", "type": "function", "function": function}


@pytest.mark.parametrize("reason", ["length", "content_filter"])
@pytest.mark.parametrize("arguments", ["", '{"city":'])
async def test_a_call_that_was_cut_is_none(reason, arguments):
    events = [chunk(tool_calls=[call(name="weather", arguments=arguments)]), chunk(reason)]
    assert await read(CHAT_WAY, events) == [Finish(reason)]


async def test_a_call_without_arguments_is_one_where_the_answer_is_whole():
    events = [chunk(tool_calls=[call(name="weather", arguments="")]), chunk("tool_calls")]
    assert await read(CHAT_WAY, events) == [ToolCall("weather", {}, "call_1"), Finish("tool_calls")]


async def test_an_incomplete_item_of_a_response_is_no_call():
    item = RESPONSES[15]["item"] | {"arguments": "", "status": "incomplete"}
    details = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
    last = {"type": "response.incomplete", "response": RESPONSES[-1]["response"] | details}
    events = [RESPONSES[0], RESPONSES[15] | {"item": item}, RESPONSES[-1] | last]
    items = await read(RESPONSES_WAY, events)
    assert items[-1] == Finish("length")
    assert not any(isinstance(item, ToolCall) for item in items)


async def test_a_call_whose_block_never_ended_fails_the_stream():
    *start, _, _ = ANTHROPIC[:13]
    with pytest.raises(ValueError, match="must be JSON"):
        await read(ANTHROPIC_WAY, [*start, ANTHROPIC[11], *ANTHROPIC[-2:]])


async def test_an_answer_that_finishes_with_an_error_has_failed():
    with pytest.raises(UpstreamFailedError, match="finish reason"):
        await read(CHAT_WAY, [chunk(content="Hel"), chunk("error")])


async def test_a_call_of_the_older_dialect_comes_through():
    events = [
        chunk(function_call={"name": "weather", "arguments": '{"city":'}),
        chunk(function_call={"arguments": '"Oslo"}'}),
        chunk("function_call"),
    ]
    [made, finish] = await read(CHAT_WAY, events)
    assert (made.name, made.arguments) == ("weather", '{"city":"Oslo"}')
    assert finish == Finish("tool_calls")


async def test_a_choice_without_a_delta_has_a_finish_reason():
    ended = CHAT[0] | {"choices": [{"index": 0, "delta": None, "finish_reason": "length"}]}
    assert await read(CHAT_WAY, [chunk(content="Hel"), ended]) == ["Hel", Finish("length")]


async def test_a_call_may_come_before_its_function():
    events = [
        chunk(tool_calls=[{"index": 0, "id": "call_1", "type": "function"}]),
        chunk(tool_calls=[call(name="weather", arguments="{}")]),
        chunk("tool_calls"),
    ]
    assert await read(CHAT_WAY, events) == [ToolCall("weather", {}, "call_1"), Finish("tool_calls")]


async def test_a_response_without_usage_tells_none():
    last = RESPONSES[-1] | {"response": RESPONSES[-1]["response"] | {"usage": None}}
    items = await read(RESPONSES_WAY, [*RESPONSES[:-1], last])
    assert items[-1] == Finish("tool_calls")
    assert not any(isinstance(item, Usage) for item in items)


async def test_text_that_comes_with_the_start_of_its_block_is_read():
    thinking = {"type": "thinking", "thinking": "Think", "signature": ""}
    blocks = [thinking, {"type": "text", "text": "Hel"}, {"type": "text", "text": ""}]
    starts = [
        {"type": "content_block_start", "index": index, "content_block": block}
        for index, block in enumerate(blocks)
    ]
    items = await read(ANTHROPIC_WAY, [ANTHROPIC[0], *starts, *ANTHROPIC[-2:]])
    assert items[:2] == [Reasoning("Think"), "Hel"]
    assert [type(item) for item in items[2:]] == [Usage, Finish]
