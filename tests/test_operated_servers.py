"""Real servers and clients of what operators ask for: early failures, joined text, bounds."""

import json
import threading
import time

import anthropic
import httpx
import openai
import pytest

from sse_asgi import JSONFraming
from sse_asgi.client import collect_text
from tests.apps_operated import WORDS
from tests.report import wait_for
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

APP = "tests.apps_operated:app"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module", params=["uvicorn-httptools", "hypercorn-asyncio", "granian"])
def server(request, tmp_path_factory):
    directory = tmp_path_factory.mktemp(request.param)
    with serve(SERVERS[request.param], directory=directory, app=APP) as running:
        yield running


def read(server, path):
    """Return the status of an answer, and its lines that are not empty, each with its time."""
    began = time.monotonic()
    with httpx.stream("GET", server.url + path, timeout=20) as answer:
        lines = [(line, time.monotonic() - began) for line in answer.iter_lines() if line]
    return answer.status_code, lines


def test_a_failure_within_the_time_has_its_status(server):
    status, lines = read(server, "/prefetch/?after=0.1")
    assert (status, [line for line, _ in lines]) == (503, ["sorry"])


def test_a_failure_after_the_time_is_an_event_and_keep_alives_come_before_it(server):
    status, lines = read(server, "/prefetch/?after=2")
    assert status == 200
    assert lines[0][0] == ": keep-alive"
    assert lines[0][1] > 0.9  # timers are coarse
    assert lines[-2][0] == "event: error"


def test_joined_text_is_the_same_in_fewer_events(server):
    def text_and_events(path):
        with httpx.stream("GET", server.url + path, timeout=20) as answer:
            text = collect_text(answer, JSONFraming())
        lines = [line for line, _ in read(server, path)[1]]
        return text, [json.loads(line[6:]) for line in lines if line.startswith('data: "')]

    text, events = text_and_events("/plain/")
    joined, fewer = text_and_events("/joined/")
    assert text == joined == "".join(events) == "".join(fewer) == "".join(WORDS)
    assert fewer[0] == WORDS[0]
    assert len(fewer) < len(events) / 2


def test_the_text_of_a_live_answer_is_joined_too(server):
    message = {"role": "user", "parts": [{"type": "text", "text": "Hi"}]}
    body = {"id": "chat", "messages": [message]}
    answer = httpx.post(f"{server.url}/live/ai-sdk", json=body, timeout=20)
    events = [json.loads(line[6:]) for line in answer.text.split("\n") if "text-delta" in line]
    assert "".join(event["delta"] for event in events) == "".join(WORDS)
    assert len(events) < len(WORDS) / 2


@pytest.mark.parametrize("path", ["/limited/", "/guarded/"])
def test_above_a_bound_a_client_is_refused_until_the_place_is_free(server, path):
    before = len(server.get("/calls"))
    with httpx.stream("GET", server.url + path, timeout=20) as first:
        lines = first.iter_lines()  # closes the stream when it is dropped
        assert next(lines) == "data: a"
        refused = httpx.get(server.url + path, timeout=20)
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert "as many streams" in refused.json()["message"]
    assert len(server.get("/calls")) == before + 1

    def is_admitted():
        with httpx.stream("GET", server.url + path, timeout=20) as answer:
            return answer.status_code == 200

    wait_for(is_admitted, within=20, what="the place is free again")


def test_the_clients_of_openai_and_anthropic_see_a_rate_limit(server):
    url = f"{server.url}/chat"
    with (
        openai.OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as of_openai,
        anthropic.Anthropic(base_url=url, api_key="x", max_retries=0) as of_anthropic,
    ):
        with of_openai.chat.completions.create(**CHAT, stream=True) as first:
            next(first)
            with pytest.raises(openai.RateLimitError) as caught:
                of_openai.chat.completions.create(**CHAT, stream=True)
            assert (caught.value.code, caught.value.type) == (
                "rate_limit_exceeded",
                "rate_limit_error",
            )
            assert int(caught.value.response.headers["retry-after"]) >= 1
            with pytest.raises(anthropic.RateLimitError) as refused:
                of_anthropic.messages.create(**CHAT, max_tokens=9, stream=True)
            assert refused.value.body["error"]["type"] == "rate_limit_error"
        assert server.get("/calls").count("anthropic_messages") == 0


def test_a_client_of_openai_that_is_told_to_wait_comes_back_and_is_admitted(server):
    with openai.OpenAI(base_url=f"{server.url}/chat/v1", api_key="x", max_retries=9) as client:
        first = client.chat.completions.create(**CHAT, stream=True)
        leaving = threading.Timer(0.5, first.close)
        leaving.start()
        with client.chat.completions.create(**CHAT, stream=True) as second:
            texts = (chunk.choices[0].delta.content for chunk in second)
            assert next(text for text in texts if text) == "a"
        leaving.join()
