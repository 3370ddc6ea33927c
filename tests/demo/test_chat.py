"""The demo's chat app, in process."""

import pytest

from sse_asgi.demo.app import chat_app
from sse_asgi.demo.openai import EndpointError
from sse_asgi.demo.reading import LONGEST_PROMPT
from tests.chat.asking import ANTHROPIC, BODIES, CHAT, ask

pytestmark = pytest.mark.anyio
JSON = {"content-type": "application/json; charset=utf-8"}


class Source:
    name = "a test"
    detail = "It says what it is told."

    is_repeatable = True

    async def answer(self, prompt, *, seed=None):
        yield prompt
        if prompt == "fail":
            raise RuntimeError("secret")
        if prompt == "refuse":
            raise EndpointError("the endpoint answered 401: no such key")


def asking(path, prompt, **more):
    message = {"role": "user", "content": prompt}
    return BODIES[path] | {"model": "demo", "messages": [message], **more}


@pytest.mark.parametrize("path", [CHAT, ANTHROPIC])
async def test_clients_get_the_sources_words(path):
    answer = await ask(chat_app(Source()), path, asking(path, "Hello"), headers=JSON)
    assert answer.status == 200
    assert "Hello" in answer.text


@pytest.mark.parametrize(
    ("prompt", "status", "says"),
    [
        ("x" * (LONGEST_PROMPT + 1), 400, "at most"),
        ("fail", 500, "the source failed"),
        ("refuse", 500, "no such key"),
    ],
)
async def test_failures_are_told(prompt, status, says):
    answer = await ask(chat_app(Source()), CHAT, asking(CHAT, prompt), headers=JSON)
    assert (answer.status, says in answer.text) == (status, True)


async def test_pages_of_other_sites_are_refused():
    for kind in ({}, {"content-type": "text/plain"}):
        headers = {"origin": "https://other.example", **kind}
        answer = await ask(chat_app(Source()), CHAT, asking(CHAT, "Hello"), headers=headers)
        assert answer.status == 415


async def test_the_model_is_listed():
    answer = await ask(chat_app(Source()), "/v1/models", method="GET")
    assert [model["id"] for model in answer.json["data"]] == ["demo"]
