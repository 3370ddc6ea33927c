"""What a function is called with, and what a request without a prompt is told."""

import functools
import json

import anyio
import pytest

from sse_asgi import JSONFraming
from sse_asgi.cli.prompted import PromptedStream
from sse_asgi.testing import connect

pytestmark = pytest.mark.anyio


async def echo(prompt):
    yield "<"
    yield prompt
    yield ">"


async def with_body(request, prompt="none"):
    yield prompt
    yield (await request.body()).decode()


async def exchange(function, path="/", **request):
    """Return the status and the text of one response."""
    app = PromptedStream(function, {})
    async with connect(app, path, **request) as connection:
        if connection.status != 200:
            return connection.status, (await connection.read()).decode()
        chunks = [event.data async for event in connection]
        assert connection.error is None
        assert chunks.pop() == "[DONE]"
        return connection.status, chunks


@pytest.mark.parametrize(
    ("path", "prompt"),
    [
        ("/?prompt=hello+you", "hello you"),
        ("/any/path?x=1&prompt=caf%C3%A9", "café"),
        ("/?prompt=", ""),
        ("/?prompt=first&prompt=second", "second"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_the_prompt_comes_from_the_query(path, prompt, method):
    assert await exchange(echo, path, method=method) == (200, ["<", prompt, ">"])


async def test_the_prompt_comes_from_a_json_body():
    status, chunks = await exchange(echo, method="POST", json={"prompt": "naïve \U0001f407"})
    assert (status, chunks) == (200, ["<", "naïve \U0001f407", ">"])


async def test_the_query_goes_before_the_body():
    assert await exchange(echo, "/?prompt=query", method="POST", json={"prompt": "body"}) == (
        200,
        ["<", "query", ">"],
    )


async def test_the_source_can_read_the_body_again():
    body = {"prompt": "hi", "model": "m"}
    assert await exchange(with_body, method="POST", json=body) == (
        200,
        ["hi", json.dumps(body)],
    )


@pytest.mark.parametrize("body", [None, {}, {"model": "m"}, {"prompt": None}, ["prompt"], 5])
async def test_a_default_serves_where_no_prompt_is_sent(body):
    async def answer(prompt="default"):
        yield prompt

    assert await exchange(answer, method="POST", json=body) == (200, ["default"])


@pytest.mark.parametrize(
    "body", [None, {}, {"model": "m"}, {"prompt": None}, ["prompt"], {"prompt": 7}, {"prompt": {}}]
)
async def test_a_missing_prompt_is_a_clear_400(body):
    status, text = await exchange(echo, method="POST", json=body)
    assert status == 400
    assert text.startswith("missing prompt: add ?prompt=... to the URL")


class Exchange:
    """A request by hand, in as many messages as the test wants."""

    def __init__(self, *messages):
        self.messages = list(messages)
        self.sent = []

    async def run(self, app, **scope):
        headers = [(b"transfer-encoding", b"chunked")]
        await app(
            {
                "type": "http",
                "method": "POST",
                "path": "/",
                "query_string": b"",
                "headers": headers,
                **scope,
            },
            self.receive,
            self.send,
        )

    async def receive(self):
        return self.messages.pop(0) if self.messages else await anyio.sleep_forever()

    async def send(self, message):
        self.sent.append(message)


def part(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_is_no_json_is_a_clear_400():
    request = Exchange(part(b"prompt=", more=True), part(b"hi", more=False))
    await request.run(PromptedStream(echo, {}))
    assert request.sent[0]["status"] == 400
    assert request.sent[1]["body"].startswith(b"missing prompt: ")


async def test_a_client_that_leaves_within_its_body_gets_nothing():
    request = Exchange(part(b"{", more=True), {"type": "http.disconnect"})
    await request.run(PromptedStream(echo, {}))
    assert request.sent == []


async def test_head_needs_no_prompt():
    async with connect(PromptedStream(echo, {}), method="HEAD") as connection:
        assert connection.status == 200
        assert await connection.read() == b""


async def test_the_settings_reach_the_stream():
    app = PromptedStream(echo, {"framing": JSONFraming()})
    async with connect(app, "/?prompt=%0D") as connection:
        assert [event.data async for event in connection] == ['"<"', '"\\r"', '">"', "[DONE]"]


# What a function is called with


class Answer:
    def __init__(self, begin):
        self.begin = begin

    def speak(self, prompt):
        return [self.begin, prompt]


def in_another_order(*, prompt, request):
    return [request.method, prompt]


def one_of_any_name(anything):
    return [anything.method]


def one_and_a_default(anything, temperature=0.7):
    return [anything.method, str(temperature)]


def none():
    return ["none"]


def defaults(count=3, *words, loud=False, **rest):
    return [str((count, words, loud, rest))]


def defaults_and_prompt(temperature=0.7, prompt="hi"):
    return [str(temperature), prompt]


async def later(prompt):
    return [prompt]


def twice(begin, prompt):
    return [begin, prompt]


@pytest.mark.parametrize(
    ("function", "chunks"),
    [
        (in_another_order, ["GET", "Q"]),
        (one_of_any_name, ["GET"]),
        (one_and_a_default, ["GET", "0.7"]),
        (none, ["none"]),
        (defaults, ["(3, (), False, {})"]),
        (defaults_and_prompt, ["0.7", "Q"]),
        (later, ["Q"]),
        (Answer("A").speak, ["A", "Q"]),
        (functools.partial(twice, "B"), ["B", "Q"]),
        (lambda request: ["lambda", request.path], ["lambda", "/"]),
        (["a", "list"], ["a", "list"]),
    ],
)
async def test_it_gets_what_its_parameters_ask_for(function, chunks):
    assert await exchange(function, "/?prompt=Q") == (200, chunks)


@pytest.mark.parametrize(
    "function",
    [
        lambda model, tokens: [],
        lambda prompt, model: [],
        lambda *, model: [],
        lambda request, model: [],
        "a text",
        7,
    ],
)
def test_what_nobody_has_is_refused(function):
    with pytest.raises(TypeError):
        PromptedStream(function, {})
