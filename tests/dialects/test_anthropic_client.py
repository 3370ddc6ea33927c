"""The unmodified `anthropic` package reads what the encoder writes; only its transport is ours."""

import json

import httpx2
import pytest

from sse_asgi import Finish, Outcome, Reasoning, ToolCall, Usage
from sse_asgi.dialects import AnthropicMessages
from tests.dialects.streams import said_by, whole
from tests.lazily import anthropic

FRAMING = AnthropicMessages("mine")
REQUEST = {"model": "mine", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}
TEXTS = ["Hel", "", "lo\r\n", "[DONE]", "\U0001f600", "\u2028\u2029\x85", '"\\', "\0"]
CALL = ToolCall("look", {"where": "h\u2028ere"}, "c1")
FAILURES = [
    (Outcome.FAILED, "api_error"),
    (Outcome.TIMED_OUT, "timeout_error"),
    (Outcome.SHUT_DOWN, "overloaded_error"),
]


def client_of(stream: bytes, *, step: int = 7):
    """A client whose server sends a stream, a few bytes at a time."""

    def body():
        yield from (stream[at : at + step] for at in range(0, len(stream), step))

    def answer(request: httpx2.Request) -> httpx2.Response:
        headers = {"content-type": "text/event-stream; charset=utf-8"}
        return httpx2.Response(200, headers=headers, content=body())

    client = httpx2.Client(transport=httpx2.MockTransport(answer))
    return anthropic.Anthropic(
        api_key="x", base_url="http://server", http_client=client, max_retries=0
    )


def events(stream: bytes):
    with client_of(stream) as client:
        return list(client.messages.create(**REQUEST, stream=True))


def final_message(*said):
    with client_of(whole(FRAMING, *said)) as client, client.messages.stream(**REQUEST) as stream:
        return stream.get_final_message()


def test_events_are_in_order():
    found = events(whole(FRAMING, *TEXTS))
    kinds = [event.type for event in found]
    assert kinds == [
        *("message_start", "content_block_start"),
        *["content_block_delta"] * sum(map(bool, TEXTS)),
        *("content_block_stop", "message_delta", "message_stop"),
    ]
    deltas = [event.delta.text for event in found if event.type == "content_block_delta"]
    assert "".join(deltas) == "".join(TEXTS)


def test_helper_gives_the_text():
    with client_of(whole(FRAMING, *TEXTS)) as client, client.messages.stream(**REQUEST) as stream:
        assert "".join(stream.text_stream) == "".join(TEXTS)
        message = stream.get_final_message()
    assert (message.role, message.model, message.stop_reason) == ("assistant", "mine", "end_turn")
    assert (message.usage.input_tokens, message.usage.output_tokens) == (0, 0)


def test_parts_arrive():
    message = final_message(Reasoning("hm"), "a", CALL, "b", Usage(9, 4))
    thinking, text, call, more = message.content
    assert (thinking.type, thinking.thinking) == ("thinking", "hm")
    assert (text.text, more.text) == ("a", "b")
    assert (call.id, call.name, call.input) == ("c1", "look", json.loads(CALL.arguments))
    assert message.stop_reason == "tool_use"
    assert (message.usage.input_tokens, message.usage.output_tokens) == (9, 4)


def test_an_empty_answer_has_no_content():
    assert final_message().content == []


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        *[("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use")],
        *[("content_filter", "refusal"), ("pause_turn", "pause_turn"), ("other", "end_turn")],
    ],
)
def test_a_reason_is_said_in_its_words(reason, word):
    assert final_message("a", Finish(reason)).stop_reason == word


def test_a_stopped_message_ends_its_turn():
    stream = said_by(FRAMING, "a", CALL, Finish("length"), end=Outcome.STOPPED)
    (delta,) = (event for event in events(stream) if event.type == "message_delta")
    assert delta.delta.stop_reason == "end_turn"


@pytest.mark.parametrize(("outcome", "kind"), FAILURES)
@pytest.mark.parametrize("said", [["Hel"], []])
def test_a_failure_raises(outcome, kind, said):
    encoder = FRAMING.encoder()
    stream = encoder.begin() + b"".join(encoder.text([each]) for each in said)
    stream += encoder.fail("boom", outcome)
    with pytest.raises(anthropic.APIStatusError, match="boom") as caught:
        events(stream)
    assert caught.value.type == kind
    with (
        client_of(stream) as client,
        client.messages.stream(**REQUEST) as helper,
        pytest.raises(anthropic.APIStatusError, match="boom"),
    ):
        helper.get_final_message()
