"""Odd requests: each is answered, or refused in its dialect's shape; none hangs, none is a 500."""

import json

import pytest

from sse_asgi.chat import ChatApp
from tests.chat.asking import ANTHROPIC, BODIES, CHAT, RESPONSES, Client, ask, error_of

pytestmark = [pytest.mark.anyio, pytest.mark.matrix("anyio_backend")]

EVERY = pytest.mark.parametrize("path", BODIES)


async def echo(chat):
    yield f"You said: {chat.text}"


APP = ChatApp(echo)


def raw(path, **changed):
    return json.dumps(BODIES[path] | changed).encode()


def with_field(path, field):
    return raw(path)[:-1] + b", " + field + b"}"


# What a page of another site can send without asking first (Fetch, 2.2.2)


@EVERY
@pytest.mark.parametrize(
    "sent",
    [
        {},
        {"content-type": "text/plain"},
        {"content-type": "text/plain;application/json"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-type": "multipart/form-data; boundary=application/json"},
    ],
)
async def test_a_page_that_does_not_say_that_it_sends_json_is_refused(path, sent):
    chats = []
    headers = {"origin": "https://evil.example", **sent}
    app = ChatApp(echo, authorize=chats.append)
    answer = await ask(app, path, BODIES[path], headers=headers)
    assert answer.status == 415
    assert "application/json" in error_of(path, answer)
    assert chats == []


@EVERY
@pytest.mark.parametrize("kind", ["application/json", "Application/JSON ; charset=utf-8"])
async def test_a_page_that_sends_json_is_answered(path, kind):
    headers = {"origin": "https://good.example", "content-type": kind}
    assert (await ask(APP, path, BODIES[path], headers=headers)).status == 200


@EVERY
@pytest.mark.parametrize("sent", [{}, {"content-type": "application/x-www-form-urlencoded"}])
async def test_a_program_may_send_any_type_as_curl_does(path, sent):
    assert (await ask(APP, path, BODIES[path], headers=sent)).status == 200


# Bodies


@EVERY
async def test_a_byte_order_mark_and_other_encodings_of_unicode_are_read(path):
    text = raw(path).decode()
    for body in (b"\xef\xbb\xbf" + raw(path), text.encode("utf-16"), text.encode("utf-32-le")):
        assert (await ask(APP, path, body)).status == 200


@EVERY
@pytest.mark.parametrize(
    "field", [b'"x": Infinity', b'"x": -Infinity', b'"x": NaN', b'"x": "\xff\xfe"', b'"x": "\n"']
)
async def test_what_only_looks_like_json_is_refused(path, field):
    answer = await ask(APP, path, with_field(path, field))
    assert (answer.status, error_of(path, answer)) == (400, "The body is no JSON.")


@EVERY
@pytest.mark.parametrize(
    "field",
    [
        b'"x": ' + b"9" * 4000,
        b'"x": 1e999',
        b'"x": ' + b"[" * 300 + b"]" * 300,
        b'"x": "\\ud800"',
        b'"x": 1, "x": 2',
        b'"max_tokens": "9"',
        b'"": null',
    ],
)
async def test_odd_values_of_what_is_not_ours_are_let_pass(path, field):
    assert (await ask(APP, path, with_field(path, field))).status == 200


@EVERY
async def test_of_a_parameter_that_comes_twice_the_last_counts(path):
    body = with_field(path, b'"stream": "no", "stream": true')
    answer = await ask(APP, path, body)
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@EVERY
async def test_a_body_that_comes_byte_by_byte(path):
    client = Client(APP, path)
    pieces = [bytes([byte]) for byte in raw(path)]
    client.messages = [{"type": "http.request", "body": each, "more_body": True} for each in pieces]
    client.messages.append({"type": "http.request"})
    await client.run()
    assert (client.answer.status, "You said: Hi" in client.answer.text) == (200, True)


@EVERY
async def test_a_body_without_end_is_refused_once_it_is_far_too_large(path):
    client = Client(ChatApp(echo, max_body_size=1000), path)
    piece = {"type": "http.request", "body": b" " * 1_000_000, "more_body": True}
    client.messages = [piece] * 100
    await client.run()
    assert client.answer.status == 413
    assert len(client.messages) > 50


# Headers, methods, addresses


@EVERY
@pytest.mark.parametrize(
    ("fields", "seen"),
    [
        ([b"\xff\xfe\x80"], "\xff\xfe\x80"),
        ([b"Bearer a", b"Bearer b"], "Bearer a, Bearer b"),
        ([b""], ""),
    ],
)
async def test_odd_authorization_reaches_authorize_as_it_is(path, fields, seen):
    told = []
    app = ChatApp(echo, authorize=lambda request: told.append(request.headers["authorization"]))
    client = Client(app, path, BODIES[path])
    client.scope["headers"] = [(b"authorization", field) for field in fields]
    await client.run()
    assert (client.answer.status, told) == (401, [seen])


@EVERY
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "post"])
async def test_other_methods_than_post(path, method):
    answer = await ask(APP, path, BODIES[path], method=method)
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.body == b"" if method == "HEAD" else error_of(path, answer) == "Use POST."


@EVERY
async def test_slashes_too_many(path):
    for odd in (f"{path}/", f"/{path}", path.replace("/v1/", "/v1//")):
        assert (await ask(APP, odd, BODIES[path])).status == 200


async def test_an_unknown_model_with_a_huge_name_is_not_told_whole():
    for path in (CHAT, RESPONSES, ANTHROPIC):
        app = ChatApp(echo, models=["mine"])
        answer = await ask(app, path, BODIES[path] | {"model": "x\r\n" * 50_000})
        assert answer.status == 404
        assert len(answer.body) < 500


@EVERY
async def test_a_body_that_does_not_come_is_408(path, monkeypatch):
    monkeypatch.setattr("sse_asgi.chat.client.READ_TIME", 0.01)
    client = Client(APP, path)
    client.messages = [{"type": "http.request", "body": raw(path)[:5], "more_body": True}]
    await client.run()
    assert client.answer.status == 408
    assert error_of(path, client.answer) == "The body has not come in time."


@EVERY
async def test_a_client_that_leaves_before_its_body_is_sent_nothing(path):
    called = []
    client = Client(ChatApp(called.append), path)
    client.messages = [{"type": "http.request", "body": raw(path)[:5], "more_body": True}]
    client.leaves.set()
    await client.run()
    assert (client.sent, called) == ([], [])


async def test_tool_results_alone_are_no_text_of_the_users():
    result = {"type": "tool_result", "tool_use_id": "1", "content": "sun"}
    body = BODIES[ANTHROPIC] | {"messages": [{"role": "user", "content": [result]}]}
    answer = await ask(APP, ANTHROPIC, body)
    assert answer.json["content"] == [{"type": "text", "text": "You said: "}]
