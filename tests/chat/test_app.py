"""ChatApp: its addresses, what the generator is given, and whole answers in each dialect."""

import contextvars
import json

import pytest

from sse_asgi import Finish, Reasoning, ToolCall, Usage
from sse_asgi.chat import ChatApp
from tests.chat.asking import AG_UI, AI_SDK, ANTHROPIC, BODIES, CHAT, RESPONSES, WHOLE, ask

pytestmark = pytest.mark.anyio

TEXT = "Hel\r\n[DONE]\u2028 🦜"


async def everything(chat):
    yield Reasoning("Think")
    yield TEXT[:3]
    yield ""
    yield None
    yield TEXT[3:]
    yield ToolCall("weather", {"city": "Århus"}, "call_1")
    yield Usage(9, 4)


TENANT = contextvars.ContextVar("TENANT", default="none")


async def tenant(chat):
    yield TENANT.get()


async def nothing(chat):
    for chunk in ():
        yield chunk


def keeping(chats):
    async def generate(chat):
        chats.append(chat)
        yield "Hello"

    return generate


@pytest.mark.parametrize("path", BODIES)
async def test_the_generator_gets_the_chat(path):
    chats = []
    body = {"input": "of others", "messages": "of others", "vendor_key": {"deep": [1]}}
    known = {"input" if path == RESPONSES else "messages", "model", "tools"}
    body = {name: value for name, value in body.items() if name not in known}
    body |= BODIES[path] | {"tools": [{"name": "weather"}]}

    answer = await ask(ChatApp(keeping(chats), models=["mine"]), path, body)

    assert answer.status == 200
    [chat] = chats
    prompt = [{"role": "user", "content": "Hi"}]
    assert chat.messages == (prompt if path == RESPONSES else body["messages"])
    assert (chat.text, chat.model, chat.principal) == ("Hi", "mine", None)
    assert chat.tools == [{"name": "weather"}]
    assert chat.options == {name: value for name, value in body.items() if name not in known}
    assert chat.request.path == path
    assert await chat.request.json() == body


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (CHAT, "chat_completions"),
        (RESPONSES, "responses"),
        (ANTHROPIC, "anthropic_messages"),
        (AI_SDK, "ui_messages"),
        (AG_UI, "ag_ui"),
    ],
)
async def test_the_chat_names_the_dialect(path, name):
    chats = []
    await ask(ChatApp(keeping(chats)), path, BODIES[path])
    assert chats[0].dialect == name


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("Hi", "Hi"),
        ("", ""),
        (None, ""),
        (
            [{"type": "text", "text": "H"}, {"type": "image_url"}, {"type": "text", "text": "i"}],
            "Hi",
        ),
        ([{"type": "input_text", "text": "Hi"}], "Hi"),
        ([{"type": "image_url"}], ""),
        ([{"type": "text", "text": 3}], ""),
        ([{"type": "text"}], ""),
    ],
)
async def test_the_text_is_that_of_the_last_message_of_the_user(content, text):
    chats = []
    messages = [
        {"role": "user", "content": "Earlier"},
        {"role": "user", "content": content},
        {"role": "assistant", "content": "Not this"},
    ]
    await ask(ChatApp(keeping(chats)), CHAT, {"model": "m", "messages": messages})
    assert chats[0].text == text


async def test_results_of_tools_are_no_text_of_the_user():
    chats = []
    messages = [
        {"role": "user", "content": "Weather?"},
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "1", "name": "w", "input": {}}],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "1", "content": "sun"}],
        },
    ]
    await ask(ChatApp(keeping(chats)), ANTHROPIC, {"model": "m", "messages": messages})
    assert chats[0].text == "Weather?"


async def test_items_of_a_responses_request_may_have_no_role():
    chats = []
    items = [
        {"role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "function_call", "call_id": "1", "name": "w", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "sun"},
    ]
    await ask(ChatApp(keeping(chats)), RESPONSES, {"model": "m", "input": items})
    assert (chats[0].messages, chats[0].text) == (items, "Weather?")


@pytest.mark.parametrize("content", [None, [{"type": "reasoning_text", "text": "Hm"}]])
async def test_reasoning_of_an_earlier_response_may_have_content(content):
    chats = []
    items = [
        {"role": "user", "content": "Weather?"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": content},
    ]
    await ask(ChatApp(keeping(chats)), RESPONSES, {"model": "m", "input": items})
    assert chats[0].messages == items


@pytest.mark.parametrize(
    "path", ["/chat/completions", "/v1/chat/completions", "/v1/chat/completions/"]
)
@pytest.mark.parametrize(
    ("root", "prefix"), [("", ""), ("/api", "/api"), ("/models/v1", "/models/v1")]
)
async def test_addresses_below_any_mount(path, root, prefix):
    app = ChatApp(everything, models=["org/mine"])
    answer = await ask(app, prefix + path, BODIES[CHAT] | {"model": "org/mine"}, root_path=root)
    assert answer.status == 200

    answer = await ask(app, f"{prefix}/v1/models/org/mine", method="GET", root_path=root)
    assert answer.json["id"] == "org/mine"


async def test_addresses_below_a_mount_that_the_framework_hides():
    assert (await ask(ChatApp(everything), "/chat/completions", BODIES[CHAT])).status == 200


async def test_a_chat_completion():
    answer = await ask(ChatApp(everything), CHAT, BODIES[CHAT])

    completion = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert completion["object"] == "chat.completion"
    assert completion["model"] == "mine"
    [choice] = completion["choices"]
    call = {"name": "weather", "arguments": json.dumps({"city": "Århus"}, ensure_ascii=False)}
    assert choice["message"] == {
        "role": "assistant",
        "content": TEXT,
        "refusal": None,
        "reasoning_content": "Think",
        "tool_calls": [{"id": "call_1", "type": "function", "function": call}],
    }
    assert choice["finish_reason"] == "tool_calls"
    assert completion["usage"] == {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}


async def test_a_response():
    response = (await ask(ChatApp(everything), RESPONSES, BODIES[RESPONSES])).json

    assert (response["object"], response["status"]) == ("response", "completed")
    reasoning, message, call = response["output"]
    assert reasoning["summary"] == [{"type": "summary_text", "text": "Think"}]
    assert message["content"][0]["text"] == TEXT
    assert (call["type"], call["call_id"], call["name"]) == ("function_call", "call_1", "weather")
    assert (response["usage"]["input_tokens"], response["usage"]["output_tokens"]) == (9, 4)


async def test_an_anthropic_message():
    message = (await ask(ChatApp(everything), ANTHROPIC, BODIES[ANTHROPIC])).json

    assert (message["type"], message["role"], message["model"]) == ("message", "assistant", "mine")
    assert message["content"] == [
        {"type": "thinking", "thinking": "Think", "signature": ""},
        {"type": "text", "text": TEXT},
        {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Århus"}},
    ]
    assert (message["stop_reason"], message["stop_sequence"]) == ("tool_use", None)
    assert message["usage"] == {"input_tokens": 9, "output_tokens": 4}


async def test_empty_answers():
    app = ChatApp(nothing)
    [choice] = (await ask(app, CHAT, BODIES[CHAT])).json["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert (await ask(app, RESPONSES, BODIES[RESPONSES])).json["status"] == "completed"
    assert (await ask(app, ANTHROPIC, BODIES[ANTHROPIC])).json["content"] == []


async def test_usage_that_is_not_known_is_not_told():
    async def generate(chat):
        yield "Hi"
        yield Finish("length")

    completion = (await ask(ChatApp(generate), CHAT, BODIES[CHAT])).json
    assert "usage" not in completion
    assert completion["choices"][0]["finish_reason"] == "length"
    response = (await ask(ChatApp(generate), RESPONSES, BODIES[RESPONSES])).json
    assert response["usage"] is None
    assert response["incomplete_details"] == {"reason": "max_output_tokens"}
    message = (await ask(ChatApp(generate), ANTHROPIC, BODIES[ANTHROPIC])).json
    assert message["stop_reason"] == "max_tokens"


@pytest.mark.parametrize("path", BODIES)
async def test_streams(path):
    answer = await ask(ChatApp(everything), path, BODIES[path] | {"stream": True})

    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert ("x-vercel-ai-ui-message-stream" in answer.headers) == (path == AI_SDK)
    assert ("[DONE]\n\n" in answer.text) == (path in (CHAT, RESPONSES, AI_SDK))


async def test_usage_in_a_stream_of_chunks_is_told_if_it_is_asked_for():
    for asks in (True, False, None):
        options = None if asks is None else {"include_usage": asks}
        body = BODIES[CHAT] | {"stream": True, "stream_options": options}
        events = (await ask(ChatApp(everything), CHAT, body)).events
        assert any(event.get("usage") for event in events) == bool(asks)


async def test_an_answer_that_goes_on_keeps_the_id_of_its_message():
    messages = [*BODIES[AI_SDK]["messages"], {"id": "m2", "role": "assistant", "parts": []}]
    for sent, expected in ((messages, "m2"), (messages[:1], None)):
        answer = await ask(ChatApp(everything), AI_SDK, {"id": "1", "messages": sent})
        [start] = (event for event in answer.events if event["type"] == "start")
        assert (start["messageId"] == "m2") == (expected == "m2")


async def test_a_sync_generator_and_a_coroutine_serve_as_well():
    def sync(chat):
        yield "Hel"
        yield "lo"

    async def later(chat):
        return sync(chat)

    for generate in (sync, later):
        for stream in (True, False):
            answer = await ask(ChatApp(generate), CHAT, BODIES[CHAT] | {"stream": stream})
            assert answer.status == 200
            assert "lo" in answer.text


async def test_the_users_headers_are_on_every_answer():
    app = ChatApp(everything, headers={"Access-Control-Allow-Origin": "*"}, models=["mine"])
    answers = [
        await ask(app, CHAT, BODIES[CHAT]),
        await ask(app, CHAT, BODIES[CHAT] | {"stream": True}),
        await ask(app, CHAT, b"no JSON"),
        await ask(app, "/v1/models", method="GET"),
        await ask(app, "/nowhere"),
    ]
    assert [each.status for each in answers] == [200, 200, 400, 200, 404]
    assert all(each.headers["access-control-allow-origin"] == "*" for each in answers)


@pytest.mark.parametrize("path", WHOLE)
async def test_a_lone_surrogate_does_no_harm(path):
    async def generate(chat):
        yield f"{chat.text}\ud800"

    body = json.dumps(BODIES[path]).replace("Hi", "Hi\\ud800").encode()
    for stream in (b"", b', "stream": true'):
        answer = await ask(ChatApp(generate), path, body[:-1] + stream + b"}")
        assert answer.status == 200
        assert "Hi" in answer.text


@pytest.mark.parametrize("stream", [True, False])
async def test_the_generator_runs_in_the_context_it_is_given(stream):
    context = contextvars.copy_context()
    context.run(TENANT.set, "ours")
    answer = await ask(ChatApp(tenant, context=context), CHAT, BODIES[CHAT] | {"stream": stream})
    assert "ours" in answer.text
