"""The unmodified `openai` package reads what the encoders write; only its transport is ours."""

from contextlib import contextmanager

import httpx2
import pydantic
import pytest

from sse_asgi import EventStreamDecoder, Finish, Framing, Outcome, Reasoning, ToolCall, Usage
from sse_asgi.dialects import ChatCompletions, Responses
from tests.dialects.streams import said_by, whole
from tests.lazily import openai

CHAT = ChatCompletions("mine", include_usage=True)
RESPONSES = Responses("mine")
TEXTS = ["Hel", "", "lo\r\n", "[DONE]", "\U0001f600", "\u2028\u2029\x85", '"\\', "\0"]
CALL = ToolCall("look", {"where": "h\u2028ere"}, "c1")
FAILURES = [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN]


def client_of(stream: bytes, *, step: int = 7):
    """A client whose server sends a stream, a few bytes at a time."""

    def body():
        yield from (stream[at : at + step] for at in range(0, len(stream), step))

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx2.Response(200, headers=headers, content=body())

    transport = httpx2.MockTransport(answer)
    client = httpx2.Client(transport=transport)
    return openai.OpenAI(api_key="x", base_url="http://server", http_client=client, max_retries=0)


@contextmanager
def chat_helper(stream: bytes):
    with (
        client_of(stream) as client,
        client.chat.completions.stream(model="mine", messages=[]) as helper,
    ):
        yield helper


@contextmanager
def response_helper(stream: bytes):
    with client_of(stream) as client, client.responses.stream(model="mine", input="x") as helper:
        yield helper


def failed(framing: Framing, outcome: Outcome, *said: str) -> bytes:
    encoder = framing.encoder()
    text = b"".join(encoder.text([each]) for each in said)
    return encoder.begin() + text + encoder.fail("boom", outcome)


def chat(stream: bytes):
    with client_of(stream) as client:
        return list(client.chat.completions.create(model="mine", messages=[], stream=True))


def test_chat_text_arrives_to_the_character():
    chunks = chat(whole(CHAT, *TEXTS))
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "".join(TEXTS)
    assert {chunk.id for chunk in chunks} == {chunks[0].id}
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert {chunk.model for chunk in chunks} == {"mine"}


def test_chat_parts_arrive():
    *rest, end, usage = chat(whole(CHAT, Reasoning("hm"), "a", CALL, Usage(9, 4)))
    deltas = [chunk.choices[0].delta for chunk in rest]
    assert "".join((d.model_extra or {}).get("reasoning_content", "") for d in deltas) == "hm"
    (call,) = [call for delta in deltas for call in delta.tool_calls or []]
    assert (call.id, call.function.name, call.function.arguments) == ("c1", "look", CALL.arguments)
    assert end.choices[0].finish_reason == "tool_calls"
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens) == (9, 4)
    assert (usage.usage.total_tokens, usage.choices) == (13, [])


@pytest.mark.parametrize("said", [TEXTS, [], [Usage(None, 4)]])
def test_chat_helper_accumulates(said):
    with chat_helper(whole(CHAT, *said)) as stream:
        completion = stream.get_final_completion()
    (choice,) = completion.choices
    text = "".join(each for each in said if isinstance(each, str))
    assert (choice.message.role, choice.message.content or "") == ("assistant", text)
    assert choice.finish_reason == "stop"


def test_chat_helper_accumulates_parts():
    said = ["a", CALL, ToolCall("look", "", "c2"), Usage(9, 4), Finish("stop")]
    with chat_helper(whole(CHAT, *said)) as stream:
        completion = stream.get_final_completion()
    (choice,) = completion.choices
    calls = [(call.id, call.function.arguments) for call in choice.message.tool_calls]
    assert calls == [("c1", CALL.arguments), ("c2", "{}")]
    assert (choice.finish_reason, completion.usage.total_tokens) == ("stop", 13)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_chat_helper_tells_why_it_was_cut(reason):
    errors = (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)
    with chat_helper(whole(CHAT, "a", Finish(reason))) as stream, pytest.raises(errors):
        stream.get_final_completion()


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("said", [["Hel"], []])
def test_chat_failure_raises(outcome, said):
    seen = []
    with (
        client_of(failed(CHAT, outcome, *said)) as client,
        pytest.raises(openai.APIError, match="boom") as caught,
    ):
        for chunk in client.chat.completions.create(model="mine", messages=[], stream=True):
            seen.append(chunk.choices[0].delta.content)
    assert caught.value.type == "server_error"
    assert "".join(seen) == "".join(said)


@pytest.mark.parametrize("outcome", FAILURES)
def test_chat_helper_raises_at_a_failure(outcome):
    with (
        chat_helper(failed(CHAT, outcome, "Hel")) as stream,
        pytest.raises(openai.APIError, match="boom"),
    ):
        stream.get_final_completion()


def test_chat_that_was_stopped_ends_well():
    chunks = chat(said_by(CHAT, "Hel", end=Outcome.STOPPED))
    assert chunks[-1].choices[0].finish_reason == "stop"


def responses(stream: bytes):
    with client_of(stream) as client:
        return list(client.responses.create(model="mine", input="x", stream=True))


def test_response_events_are_in_order():
    events = responses(whole(RESPONSES, *TEXTS))
    kinds = [event.type.removeprefix("response.") for event in events]
    deltas = ["output_text.delta"] * sum(map(bool, TEXTS))
    assert kinds == [
        *("created", "in_progress", "output_item.added", "content_part.added"),
        *deltas,
        *("output_text.done", "content_part.done", "output_item.done", "completed"),
    ]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert events[-1].response.output_text == "".join(TEXTS)
    assert {e.response.id for e in (events[0], events[1], events[-1])} == {events[0].response.id}


@pytest.mark.parametrize("said", [TEXTS, [], ["a", CALL, "b"], [Reasoning("a"), Reasoning("b")]])
def test_response_helper_accumulates(said):
    with response_helper(whole(RESPONSES, *said, Usage(9, 4))) as stream:
        deltas = [e.delta for e in stream if e.type == "response.output_text.delta"]
        response = stream.get_final_response()
    text = "".join(each for each in said if isinstance(each, str))
    assert response.output_text == "".join(deltas) == text
    assert response.status == "completed"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (9, 4)
    assert response.usage.total_tokens == 13


def test_response_parts_arrive():
    response = responses(whole(RESPONSES, Reasoning("hm"), "a", CALL))[-1].response
    reasoning, message, call = response.output
    assert reasoning.summary[0].text == "hm"
    assert message.content[0].text == "a"
    assert (call.call_id, call.name, call.arguments) == ("c1", "look", CALL.arguments)
    assert response.usage is None


@pytest.mark.parametrize(
    ("reason", "details"), [("length", "max_output_tokens"), ("content_filter", "content_filter")]
)
def test_response_that_was_cut_is_incomplete(reason, details):
    last = responses(whole(RESPONSES, "a", Finish(reason)))[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "incomplete")
    assert last.response.incomplete_details.reason == details
    assert last.response.output[0].status == "incomplete"


def test_response_that_was_stopped_is_cancelled():
    last = responses(said_by(RESPONSES, "a", end=Outcome.STOPPED))[-1]
    assert (last.type, last.response.status) == ("response.incomplete", "cancelled")
    assert last.response.output_text == "a"


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("said", [["Hel"], []])
def test_response_failure_raises(outcome, said):
    with pytest.raises(openai.APIError, match="boom") as caught:
        responses(failed(RESPONSES, outcome, *said))
    assert (caught.value.type, caught.value.code) == ("server_error", "server_error")


@pytest.mark.parametrize("outcome", FAILURES)
def test_response_helper_raises_at_a_failure(outcome):
    with (
        response_helper(failed(RESPONSES, outcome, "Hel")) as stream,
        pytest.raises(openai.APIError, match="boom"),
    ):
        stream.get_final_response()


def test_every_event_is_one_that_the_package_knows():
    """Strictly: `construct`, by which the package reads, checks nothing."""
    adapter = pydantic.TypeAdapter(openai.types.responses.ResponseStreamEvent)
    stream = whole(RESPONSES, Reasoning("hm"), "a", CALL, Usage(9, 4))
    stream += RESPONSES.encoder().end(Outcome.STOPPED)
    for event in EventStreamDecoder().feed(stream):
        if event.data != "[DONE]":
            assert adapter.validate_json(event.data).type == event.type
    chunks = whole(CHAT, Reasoning("hm"), "a", CALL, Usage(9, 4))
    for event in EventStreamDecoder().feed(chunks):
        if event.data != "[DONE]":
            openai.types.chat.ChatCompletionChunk.model_validate_json(event.data)
