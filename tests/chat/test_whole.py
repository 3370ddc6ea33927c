"""Answers that do not stream: the same as a stream would say, in its order, and nothing cut."""

import json

import anyio
import pytest

from sse_asgi import Outcome, Reasoning, ToolCall
from sse_asgi.chat import ChatApp
from tests.chat.asking import ANTHROPIC, BODIES, CHAT, RESPONSES, WHOLE, Client, ask

pytestmark = pytest.mark.anyio


async def by_turns(chat):
    for piece in ("Let me ", "look."):
        yield piece
    yield ToolCall("weather", {"city": "Oslo"}, "call_1")
    for piece in ("It ", "", "rains."):
        yield piece
    yield Reasoning("So they ")
    yield Reasoning("are wet.")
    yield "Take a coat."


async def test_a_message_has_its_blocks_in_the_order_in_which_they_came():
    message = (await ask(ChatApp(by_turns), ANTHROPIC, BODIES[ANTHROPIC])).json
    assert message["content"] == [
        {"type": "text", "text": "Let me look."},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Oslo"}},
        {"type": "text", "text": "It rains."},
        {"type": "thinking", "thinking": "So they are wet.", "signature": ""},
        {"type": "text", "text": "Take a coat."},
    ]


def without_ids(output):
    return [{name: value for name, value in item.items() if name != "id"} for item in output]


async def test_a_response_has_the_output_of_its_stream():
    body = BODIES[RESPONSES]
    whole = (await ask(ChatApp(by_turns), RESPONSES, body)).json
    streamed = (await ask(ChatApp(by_turns), RESPONSES, body | {"stream": True})).events[-1]
    assert len(whole["output"]) == 5
    assert without_ids(whole["output"]) == without_ids(streamed["response"]["output"])


async def test_a_completion_has_all_text_in_one_and_all_reasoning_in_one():
    message = (await ask(ChatApp(by_turns), CHAT, BODIES[CHAT])).json["choices"][0]["message"]
    assert message["content"] == "Let me look.It rains.Take a coat."
    assert message["reasoning_content"] == "So they are wet."
    assert [call["id"] for call in message["tool_calls"]] == ["call_1"]


@pytest.mark.parametrize("path", WHOLE)
async def test_arguments_are_passed_on_as_they_are(path):
    digits = "9" * 5000  # more than Python converts
    arguments = f'{{"of": {digits}, "to": 1e999,\n"name": "\u2028\ud800"}}'

    async def generate(chat):
        yield ToolCall("count", arguments, "call_1")
        yield ToolCall("again", "{}", "call_2")

    answer = await ask(ChatApp(generate), path, BODIES[path])

    assert answer.status == 200
    value = json.loads(answer.text, parse_int=str, parse_constant=pytest.fail)
    if path == ANTHROPIC:
        first, second = (block["input"] for block in value["content"])
        assert first == {"of": digits, "to": float("inf"), "name": "\u2028\ufffd"}
        assert second == {}
    elif path == CHAT:
        first, second = value["choices"][0]["message"]["tool_calls"]
        assert first["function"]["arguments"] == arguments.replace("\ud800", "\ufffd")
    else:
        assert value["output"][0]["arguments"] == arguments.replace("\ud800", "\ufffd")


@pytest.mark.parametrize("path", WHOLE)
async def test_a_lone_surrogate_is_replaced_as_in_a_stream(path):
    async def generate(chat):
        yield "Hi\ud800"

    answer = await ask(ChatApp(generate), path, BODIES[path])
    assert "Hi\ufffd" in answer.text
    assert "\\ud800" not in answer.text


class Unread(Client):
    """A client that does not read, with a server that holds no more than the headers."""

    async def send(self, message):
        await super().send(message)
        if message["type"] == "http.response.body":
            await anyio.sleep_forever()


@pytest.mark.parametrize("path", WHOLE)
async def test_a_client_that_does_not_read_its_answer_is_given_up(path):
    told = []
    app = ChatApp(by_turns, send_timeout=0.05, on_complete=told.append)
    client = Unread(app, path, BODIES[path])
    with anyio.fail_after(10):
        await client.run()
    assert [each.outcome for each in told] == [Outcome.TIMED_OUT]
    assert told[0].text == "Let me look.It rains.Take a coat."
