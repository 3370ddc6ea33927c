"""Where the prompt comes from, and what a request without one is told."""

import json

import pytest

from sse_asgi import JSONFraming
from sse_asgi.cli.function import fit
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
    app = PromptedStream(fit(function), {})
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
        ("/?prompt=first&prompt=second", "first"),
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


@pytest.mark.parametrize("body", [None, {}, {"model": "m"}, {"prompt": None}, ["prompt"]])
async def test_a_missing_prompt_is_a_clear_400(body):
    status, text = await exchange(echo, method="POST", json=body)
    assert status == 400
    assert text.startswith("missing prompt: add ?prompt=... to the URL")


@pytest.mark.parametrize("prompt", [7, ["a"], {"text": "a"}, True])
async def test_a_prompt_that_is_no_string_is_a_clear_400(prompt):
    status, text = await exchange(echo, method="POST", json={"prompt": prompt})
    assert (status, text.partition(":")[0]) == (400, "the prompt is no string")


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
        return self.messages.pop(0)

    async def send(self, message):
        self.sent.append(message)


def part(body, *, more):
    return {"type": "http.request", "body": body, "more_body": more}


async def test_a_body_that_is_no_json_is_a_clear_400():
    request = Exchange(part(b"prompt=", more=True), part(b"hi", more=False))
    await request.run(PromptedStream(fit(echo), {}))
    assert request.sent[0]["status"] == 400
    assert request.sent[1]["body"].startswith(b"the body is no JSON: ")


async def test_a_body_too_large_is_a_413_before_the_rest_of_it_is_read():
    unread = part(b"", more=False)
    request = Exchange(*[part(b" " * 400_000, more=True)] * 3, unread)
    await request.run(PromptedStream(fit(echo), {}))
    assert request.sent[0]["status"] == 413
    assert request.messages == [unread]


async def test_a_client_that_leaves_within_its_body_gets_nothing():
    request = Exchange(part(b"{", more=True), {"type": "http.disconnect"})
    await request.run(PromptedStream(fit(echo), {}))
    assert request.sent == []


async def test_head_needs_no_prompt():
    async with connect(PromptedStream(fit(echo), {}), method="HEAD") as connection:
        assert connection.status == 200
        assert await connection.read() == b""


async def test_the_settings_reach_the_stream():
    app = PromptedStream(fit(echo), {"framing": JSONFraming()})
    async with connect(app, "/?prompt=%0D") as connection:
        assert [event.data async for event in connection] == ['"<"', '"\\r"', '">"', "[DONE]"]
