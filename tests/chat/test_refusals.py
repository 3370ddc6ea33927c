"""Wrong requests: each the dialect's own error, which names the parameter; nothing is generated."""

import json

import pytest

from sse_asgi.chat import ChatApp, ChatError
from tests.chat.asking import AG_UI, AI_SDK, ANTHROPIC, BODIES, CHAT, RESPONSES, ask, error_of

pytestmark = [pytest.mark.anyio, pytest.mark.matrix("anyio_backend")]


def never(chats):
    async def generate(chat):
        chats.append(chat)
        yield "Never"

    return generate


async def refused(path, body, *, status=400, param, **options):
    """Ask what is to be refused; return the error's answer."""
    chats = []
    answer = await ask(ChatApp(never(chats), **options), path, body)
    assert answer.status == status, answer.text
    assert param in error_of(path, answer)
    if path in (CHAT, RESPONSES):
        assert answer.json["error"]["param"] == param
    assert chats == []
    return answer


def messages_of(path):
    return "input" if path == RESPONSES else "messages"


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "raw", [b"", b"no JSON", b"{", b"\xff\xfe\xfd", b'{"a": NaN}', b"1" * 6000]
)
async def test_a_body_that_is_no_json(path, raw):
    await refused(path, raw, param="body")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("value", [[], "text", 3, None, True])
async def test_a_body_that_is_no_object(path, value):
    await refused(path, json.dumps(value).encode(), param="body")


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_that_is_nested_deeply(path):
    for raw in (b"[" * 100_000, b'{"a":' * 100_000):
        await refused(path, raw, param="body")


@pytest.mark.parametrize("path", BODIES)
async def test_a_body_that_is_too_large(path):
    body = BODIES[path] | {"filler": "x" * 10_000_000}
    await refused(path, body, status=413, param="body")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("value", [[], None, {}, "", 3, True, [3], ["text"], [None], [[]]])
async def test_messages_that_are_none(path, value):
    name = messages_of(path)
    if path == RESPONSES and value == "":  # an empty prompt is one
        return
    nested = isinstance(value, list) and value
    await refused(path, BODIES[path] | {name: value}, param=f"{name}[0]" if nested else name)


@pytest.mark.parametrize("path", BODIES)
async def test_no_messages_at_all(path):
    name = messages_of(path)
    body = {key: value for key, value in BODIES[path].items() if key != name}
    await refused(path, body, param=name)


@pytest.mark.parametrize("path", BODIES)
async def test_messages_of_wrong_types(path):
    name, content = messages_of(path), "parts" if path == AI_SDK else "content"
    for message, param in (
        ({"role": 3, content: "Hi"}, f"{name}[1].role"),
        ({content: "Hi"}, f"{name}[1].role"),
        ({"role": "user", content: 3}, f"{name}[1].{content}"),
        ({"role": "user", content: {}}, f"{name}[1].{content}"),
        ({"role": "user", content: ["text"]}, f"{name}[1].{content}[0]"),
    ):
        first = {"role": "user", content: [{"type": "text", "text": "Hi"}]}
        await refused(path, BODIES[path] | {name: [first, message]}, param=param)


@pytest.mark.parametrize(
    ("path", "changed", "param"),
    [
        (CHAT, {"n": 2}, "n"),
        (CHAT, {"n": 0}, "n"),
        (CHAT, {"n": "1"}, "n"),
        (CHAT, {"n": True}, "n"),
        (CHAT, {"model": 3}, "model"),
        (CHAT, {"tools": {}}, "tools"),
        (CHAT, {"tools": ["weather"]}, "tools[0]"),
        (CHAT, {"stream": "yes"}, "stream"),
        (CHAT, {"stream": 1}, "stream"),
        (CHAT, {"stream": True, "stream_options": "x"}, "stream_options"),
        (CHAT, {"stream": True, "stream_options": {"include_usage": 1}},
         "stream_options.include_usage"),
        (RESPONSES, {"model": []}, "model"),
        (RESPONSES, {"tools": 3}, "tools"),
        (RESPONSES, {"stream": []}, "stream"),
        (RESPONSES, {"background": True}, "background"),
        (ANTHROPIC, {"model": {}}, "model"),
        (ANTHROPIC, {"tools": "x"}, "tools"),
        (ANTHROPIC, {"stream": "true"}, "stream"),
        (AI_SDK, {"model": 3}, "model"),
        (AI_SDK, {"tools": 3}, "tools"),
        (AG_UI, {"threadId": None}, "threadId"),
        (AG_UI, {"threadId": ""}, "threadId"),
        (AG_UI, {"runId": 3}, "runId"),
        (AG_UI, {"tools": {}}, "tools"),
    ],
)  # fmt: skip
async def test_a_parameter_of_a_wrong_type_or_one_that_cannot_be_served(path, changed, param):
    await refused(path, BODIES[path] | changed, param=param)


async def test_parameters_that_are_null_are_not_given():
    body = BODIES[CHAT] | {"n": None, "tools": None, "stream": None, "stream_options": None}
    assert (await ask(ChatApp(never([])), CHAT, body)).status == 200


@pytest.mark.parametrize("path", [CHAT, RESPONSES, ANTHROPIC])
async def test_an_unknown_model(path):
    body = BODIES[path] | {"model": "other"}
    answer = await refused(path, body, status=404, param="model", models=("mine",))
    if path != ANTHROPIC:
        assert answer.json["error"]["code"] == "model_not_found"


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("principal", [None, False])
async def test_whom_authorize_refuses(path, principal):
    def sync(request):
        return principal

    async def asynchronous(request):
        return principal

    for authorize in (sync, asynchronous):
        answer = await refused(
            path, BODIES[path], status=401, param="authorization", authorize=authorize
        )
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_authorize_is_asked_for_models_too():
    app = ChatApp(never([]), models=["m"], authorize=lambda request: None)
    assert (await ask(app, "/models", method="GET")).status == 401


@pytest.mark.parametrize("path", BODIES)
async def test_authorize_refuses_in_other_ways(path):
    def authorize(request):
        raise ChatError(403, "authorization: not today", retry_after=1.2)

    chats = []
    answer = await ask(ChatApp(never(chats), authorize=authorize), path, BODIES[path])
    assert (answer.status, answer.headers["retry-after"]) == (403, "2")
    assert error_of(path, answer) == "authorization: not today"
    assert chats == []


@pytest.mark.parametrize("path", BODIES)
async def test_authorize_fails(path, caplog):
    def authorize(request):
        raise RuntimeError("secret")

    answer = await ask(ChatApp(never([]), authorize=authorize), path, BODIES[path])
    assert answer.status == 500
    assert "secret" not in answer.text
    assert caplog.text.count("RuntimeError: secret") == 1


async def test_the_principal_reaches_the_generator():
    async def generate(chat):
        yield chat.principal["name"]

    async def authorize(request):
        assert request.headers["Authorization"] == "Bearer key"
        assert (await request.json())["model"] == "mine"
        return {"name": "Alice"}

    app = ChatApp(generate, authorize=authorize)
    answer = await ask(app, CHAT, BODIES[CHAT], headers={"authorization": "Bearer key"})
    assert answer.json["choices"][0]["message"]["content"] == "Alice"


@pytest.mark.parametrize(
    ("path", "method", "status", "allow"),
    [
        ("/", "GET", 404, None),
        ("/v1/completions", "POST", 404, None),
        ("/chat/completionsx", "POST", 404, None),
        (CHAT, "GET", 405, "POST"),
        (RESPONSES, "DELETE", 405, "POST"),
        ("/models", "POST", 405, "GET, HEAD"),
        ("/models/m", "PUT", 405, "GET, HEAD"),
    ],
)
async def test_what_is_not_there(path, method, status, allow):
    answer = await ask(ChatApp(never([])), path, method=method)
    assert (answer.status, answer.headers.get("allow")) == (status, allow)
    assert answer.json["error"]["message"]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((200, "x"), ValueError),
        ((600, "x"), ValueError),
        ((True, "x"), TypeError),
        (("400", "x"), TypeError),
        ((400, 3), TypeError),
    ],
)
def test_what_is_no_chat_error(arguments, error):
    with pytest.raises(error):
        ChatError(*arguments)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"retry_after": -1}, ValueError),
        ({"retry_after": float("nan")}, ValueError),
        ({"retry_after": "1"}, TypeError),
        ({"code": 3}, TypeError),
    ],
)
def test_wrong_options_of_a_chat_error(options, error):
    with pytest.raises(error):
        ChatError(400, "x", **options)


@pytest.mark.parametrize(
    ("generate", "options", "match"),
    [
        (None, {}, "generate must"),
        ("text", {}, "generate must"),
        (lambda: None, {}, "generate cannot"),
        (never([]), {"authorize": 3}, "authorize must"),
        (never([]), {"on_complete": 3}, "on_complete must"),
        (never([]), {"heartbeat": "x"}, "heartbeat"),
        (never([]), {"framing": None}, "framing"),
    ],
)
def test_wrong_arguments_of_the_app(generate, options, match):
    with pytest.raises(TypeError, match=match):
        ChatApp(generate, **options)


@pytest.mark.parametrize("path", BODIES)
async def test_a_message_without_a_role(path):
    name = messages_of(path)
    for message in ({}, {"type": "message", "content": "Hi"}):
        await refused(path, BODIES[path] | {name: [message]}, param=f"{name}[0].role")


@pytest.mark.parametrize("path", BODIES)
async def test_another_method_than_post_is_refused_in_the_dialect_and_head_without_a_body(path):
    answer = await ask(ChatApp(never([])), path, method="GET")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert error_of(path, answer) == "Use POST."

    answer = await ask(ChatApp(never([])), path, method="HEAD")
    assert (answer.status, answer.headers["allow"], answer.body) == (405, "POST", b"")


async def test_head_of_a_model_that_does_not_exist_has_no_body():
    answer = await ask(ChatApp(never([]), models=["mine"]), "/models/other", method="HEAD")
    assert (answer.status, answer.body) == (404, b"")


@pytest.mark.parametrize("option", ["framing", "source", "retries"])
def test_an_option_that_it_lacks_is_refused_by_name(option):
    with pytest.raises(TypeError, match=f"ChatApp has no option {option}"):
        ChatApp(never([]), **{option: None})
