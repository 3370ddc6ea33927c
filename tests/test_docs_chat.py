"""What the documentation says of chat apps, dialects and upstreams holds."""

import json
import re
from dataclasses import fields

import httpx2
import pytest

import sse_asgi
from sse_asgi.chat import Chat, ChatApp
from sse_asgi.starlette import EventStreamResponse
from sse_asgi.testing import connect
from tests import documents
from tests.chat.asking import AG_UI, AI_SDK, ANTHROPIC, BODIES, CHAT, RESPONSES, ask
from tests.documents import DOCS, README
from tests.upstream.recorded import Upstream

HOW_TO = DOCS / "how-to"
REFERENCE = DOCS / "reference"


@pytest.fixture(scope="module")
def anyio_backend():
    """Run the examples as their readers do, who write `asyncio.sleep`."""
    return "asyncio"


# Upstreams


@pytest.fixture
def proxies(monkeypatch):
    """Return the names of the page, whose clients ask a recorded upstream, and that upstream."""
    names = documents.run(HOW_TO / "upstreams.md")
    upstream = Upstream()
    monkeypatch.setitem(names, "client", upstream.client("AsyncOpenAI"))
    monkeypatch.setitem(names, "anthropic_client", upstream.client("AsyncAnthropic"))
    return names, upstream


@pytest.mark.anyio
@pytest.mark.parametrize("app", ["app", "anthropic_app", "explaining_app"])
async def test_the_proxies_pass_on_an_answer_and_tell_of_a_cut_one(proxies, app):
    names, upstream = proxies
    body = BODIES[CHAT] | {"model": "my-assistant"}
    whole = (await ask(names[app], CHAT, body)).json
    assert whole["choices"][0]["message"]["content"] == "Hello\n[DONE]\u2028 🦜"
    assert whole["usage"]["total_tokens"] == 13
    assert upstream.is_closed
    upstream.cut = 4
    cut = (await ask(names[app], CHAT, body | {"stream": True})).events
    assert cut[-1]["error"]["message"] == "The stream failed on the server."


@pytest.mark.anyio
async def test_what_the_upstream_refuses_is_explained(proxies, monkeypatch):
    names, upstream = proxies
    monkeypatch.setattr(upstream, "answer", lambda request: httpx2.Response(429))
    monkeypatch.setitem(names, "client", upstream.client("AsyncOpenAI"))
    body = BODIES[CHAT] | {"model": "my-assistant"}
    answer = await ask(names["explaining_app"], CHAT, body)
    assert (answer.status, answer.headers["retry-after"]) == (429, "5")
    assert answer.json["error"]["message"] == "The model is busy."


@pytest.mark.anyio
async def test_an_agent_answers_and_a_page_reads_the_text(proxies):
    names, _ = proxies
    answer = await ask(names["agent_app"], CHAT, BODIES[CHAT] | {"model": "my-agent"})
    assert answer.json["choices"][0]["message"]["content"] == "success (no tool calls)"
    async with connect(names["stream"], "/?prompt=Hi") as connection:
        texts = [event.data async for event in connection if event.type == "message"]
    assert "".join(texts) == "Hello\n[DONE]\u2028 🦜[DONE]"


@pytest.mark.anyio
@pytest.mark.parametrize("path", BODIES)
async def test_the_conversation_of_every_client_becomes_text(path):
    conversation = documents.run(HOW_TO / "upstreams.md")["conversation"]
    said = []

    async def generate(chat):
        said.extend(conversation(chat.messages))
        yield "Hello"

    await ask(ChatApp(generate), path, BODIES[path])
    assert said[-1] == {"role": "user", "content": "Hi"}


# Chat apps


@pytest.mark.anyio
@pytest.mark.parametrize("path", [CHAT, RESPONSES, ANTHROPIC, AI_SDK, AG_UI])
async def test_answers_are_saved_with_user_and_prompt(path):
    names = documents.run(HOW_TO / "save-chats.md")
    headers = {"authorization": "Bearer key-of-ann"}
    answer = await ask(names["app"], path, BODIES[path], headers=headers)
    assert answer.status == 200
    [saved] = names["saved"]
    told = {name: saved[name] for name in ("user", "prompt", "model", "answer", "outcome")}
    assert told == {
        "user": "ann",
        "prompt": "Hi",
        "model": "mine",
        "answer": "Hello, ann! You said: Hi",
        "outcome": "completed",
    }
    assert saved["usage"].output_tokens == 4
    assert (await ask(names["app"], path, BODIES[path])).status == 401
    assert len(names["saved"]) == 1


@pytest.mark.anyio
async def test_streams_are_saved_with_their_request():
    names = documents.run(HOW_TO / "save-chats.md")
    async with connect(names["stream"], "/?name=ann") as connection:
        assert [event.data async for event in connection] == ["Hello, ann!", "[DONE]"]
    app = in_starlette(names["endpoint"])
    async with connect(app, "/?name=bob") as connection:
        assert [event.data async for event in connection] == ["Hello, bob!", "[DONE]"]
    assert names["saved"] == [
        {"user": "ann", "answer": "Hello, ann!"},
        {"user": "bob", "answer": "Hello, bob!"},
    ]


@pytest.mark.anyio
async def test_the_request_of_a_hook_leads_to_the_users_of_starlette():
    from starlette.requests import Request

    users = []

    async def endpoint(request):
        request.state.user = "ann"
        return EventStreamResponse(["Hello"], on_complete=save)

    def save(transcript, request):
        users.append(Request(request.scope).state.user)

    async with connect(in_starlette(endpoint)) as connection:
        assert [event.data async for event in connection] == ["Hello", "[DONE]"]
    assert users == ["ann"]


def in_starlette(endpoint):
    from starlette.applications import Starlette
    from starlette.routing import Route

    return Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])])


@pytest.mark.anyio
async def test_use_chat_gets_what_the_page_says():
    names = documents.run(HOW_TO / "use-chat.md")
    events = (await ask(names["app"], AI_SDK, BODIES[AI_SDK])).events
    kinds = [event["type"] for event in events]
    assert {"reasoning-delta", "text-delta", "tool-input-available", "finish"} <= set(kinds)
    usage = {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}
    assert events[-1]["messageMetadata"] == {"usage": usage}
    assert events[-1]["finishReason"] == "tool-calls"
    empty = BODIES[AI_SDK] | {"messages": [{"id": "m", "role": "user", "parts": []}]}
    refused = await ask(names["app"], AI_SDK, empty)
    assert (refused.status, refused.text) == (400, "Say something.")
    app = in_starlette(names["endpoint"])
    answer = await ask(app, "/", BODIES[AI_SDK])
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert any(event.get("delta") == "You have sent 1 messages." for event in answer.events)


def asked(user):
    return {"headers": {"authorization": f"Bearer key-of-{user}"}}


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["in_starlette", "in_fastapi", "in_litestar", "in_django"])
async def test_a_chat_app_is_mounted_and_asks_for_keys(name):
    app = documents.run(HOW_TO / "chat-app.md")[name]
    body = BODIES[CHAT] | {"model": "large"}
    answer = await ask(app, CHAT, body, **asked("ann"))
    assert answer.json["choices"][0]["message"]["content"] == "Hello, ann! You said: Hi"
    anthropic_body = BODIES[ANTHROPIC] | {"model": "small"}
    answer = await ask(app, ANTHROPIC, anthropic_body, headers={"x-api-key": "key-of-bob"})
    assert answer.json["content"][0]["text"] == "Hello, bob! You said: Hi"
    assert (await ask(app, CHAT, body)).status == 401
    assert (await ask(app, CHAT, BODIES[CHAT], **asked("ann"))).status == 404
    listed = await ask(app, "/v1/models", method="GET", **asked("ann"))
    assert [model["id"] for model in listed.json["data"]] == ["small", "large"]


TOOL_RESULTS = {
    CHAT: {"role": "tool", "tool_call_id": "call_1", "content": "12"},
    RESPONSES: {"type": "function_call_output", "call_id": "call_1", "output": "12"},
    ANTHROPIC: {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "12"}],
    },
    AI_SDK: {
        "id": "m2",
        "role": "assistant",
        "parts": [
            {
                "type": "tool-weather",
                "toolCallId": "call_1",
                "state": "output-available",
                "input": {},
                "output": 12,
            }
        ],
    },
    AG_UI: {"id": "2", "role": "tool", "toolCallId": "call_1", "content": "12"},
}


@pytest.mark.anyio
@pytest.mark.parametrize("path", BODIES)
async def test_the_result_of_a_tool_is_where_the_page_says(path):
    chats = []

    def generate(chat):
        chats.append(chat)
        return ["It has 12 degrees."]

    body = dict(BODIES[path])
    name = "input" if path == RESPONSES else "messages"
    said = [{"role": "user", "content": "Hi"}] if path == RESPONSES else body[name]
    body[name] = [*said, TOOL_RESULTS[path]]
    assert (await ask(ChatApp(generate), path, body)).status == 200
    assert (chats[0].text, chats[0].messages[-1]) == ("Hi", TOOL_RESULTS[path])
    tables = documents.tables_in(HOW_TO / "chat-app.md")
    rows = {row[0].strip("`"): row[1] for table in tables for row in table}
    for word in re.findall(r"`(.+?)`", rows[chats[0].dialect]):
        assert f'"{word}"' in json.dumps(TOOL_RESULTS[path])


def test_the_reference_has_every_attribute_of_a_chat():
    rows = documents.tables_in(REFERENCE / "chat.md")[1]
    assert {row[0].strip("`") for row in rows} == {each.name for each in fields(Chat)}


@pytest.mark.anyio
async def test_a_third_answer_at_a_time_is_refused():
    names = documents.run(HOW_TO / "chat-app.md")
    body = BODIES[CHAT] | {"model": "small"}
    places = names["limits"]._places
    held = [places.take("ann") for _ in range(2)]
    answer = await ask(names["app"], CHAT, body, **asked("ann"))
    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert answer.json["error"]["code"] == "rate_limit_exceeded"
    assert (await ask(names["app"], CHAT, body, **asked("bob"))).status == 200
    held.pop().release()
    assert (await ask(names["app"], CHAT, body, **asked("ann"))).status == 200


@pytest.mark.anyio
async def test_the_endpoint_of_the_readme_answers_and_refuses():
    app = documents.run(README)["app"]
    body = BODIES[CHAT] | {"model": "echo"}
    answer = await ask(app, CHAT, body)
    assert answer.json["choices"][0]["message"]["content"] == "You said: Hi "
    long = [{"role": "user", "content": "x" * 10_001}]
    refused = await ask(app, CHAT, body | {"messages": long})
    assert (refused.status, refused.json["error"]["message"]) == (400, "The prompt is too long.")


@pytest.mark.anyio
async def test_a_wrong_request_gets_the_shape_that_the_reference_shows():
    (shapes,) = documents.blocks_of(REFERENCE / "chat.md", "text")
    without = {"messages", "threadId"}
    wrong = {
        CHAT: BODIES[CHAT] | {"n": 2},
        ANTHROPIC: BODIES[ANTHROPIC] | {"model": "other"},
        AI_SDK: {name: value for name, value in BODIES[AI_SDK].items() if name not in without},
        AG_UI: {name: value for name, value in BODIES[AG_UI].items() if name != "threadId"},
    }
    app = ChatApp(lambda chat: [], models=["mine"])
    for (path, body), line in zip(wrong.items(), shapes.text.splitlines(), strict=True):
        answer = await ask(app, path, body)
        shown = line[len("Anthropic    ") :]
        assert shown == (answer.text if path == AI_SDK else json.dumps(answer.json))


@pytest.mark.anyio
async def test_parts_are_in_the_transcript_and_on_the_wire_as_the_reference_says():
    page = REFERENCE / "parts.md"
    names = documents.run(page)
    async with connect(names["stream"]) as connection:
        kinds = [event.type async for event in connection]
    assert kinds == ["reasoning", "message", "message", "tool_call", "usage", "finish", "message"]
    *_, wire, _, _ = documents.tables_in(page)
    for framing in (sse_asgi.TextFraming(), sse_asgi.JSONFraming()):
        for part, kind, data in wire:
            encoded = framing.encoder().part(eval(part.strip("`"), vars(sse_asgi)))
            assert encoded.decode() == f"event: {kind.strip('`')}\ndata: {data.strip('`')}\n\n"


@pytest.mark.anyio
async def test_a_dependency_of_the_function_is_over_before_the_first_chunk():
    api = documents.run(HOW_TO / "migrate.md")["api"]
    for path, text in (("/held", "1 open"), ("/released", "0 open")):
        async with connect(api, path) as connection:
            assert [event.data async for event in connection] == [text, "[DONE]"]
