"""Real servers and clients of live answers that are measured, bounded and compressed."""

import contextlib

import httpx
import pytest

from tests.conftest import require
from tests.lazily import openai
from tests.live.redis_server import RedisServer
from tests.report import wait_for
from tests.servers import SERVERS, serve

ASKED = {"model": "mine", "input": "Hi", "background": True}


@pytest.fixture(
    params=[
        "uvicorn-httptools",
        pytest.param("hypercorn-asyncio", marks=pytest.mark.matrix),
    ]
)
def server(request, tmp_path):
    require("opentelemetry.instrumentation.asgi")
    with serve(
        SERVERS[request.param], directory=tmp_path, app="tests.apps_live_operated:app"
    ) as running:
        yield running


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0) as client:
        yield client


def read_until(stream, text):
    """Read events until one has this text; return the last number."""
    for event in stream:
        if getattr(event, "delta", None) == text:
            return event.sequence_number
    raise AssertionError("the stream has ended")


def test_a_generation_is_measured_once_and_each_connection_as_a_stream(server, client):
    with client.responses.create(**ASKED, stream=True) as first:
        name = next(iter(first)).response.id
        seen = read_until(first, "Hel")
    wait_for(lambda: len(server.get("/told")["spans"]) == 1, what="the first connection is over")
    counts = server.get("/told")["counts"]
    assert (counts["sse.server.active_generations"], counts["sse.server.active_streams"]) == (1, 0)
    with client.responses.retrieve(name, stream=True, starting_after=seen) as again:
        server.get("/go")
        assert read_until(again, "lo") > seen
        assert [event.type for event in again][-1] == "response.completed"
    wait_for(lambda: len(server.get("/told")["spans"]) == 2, what="the last span has ended")
    told = server.get("/told")
    assert told["spans"] == [["disconnected", None], ["completed", None]]
    counts = told["counts"]
    assert counts["sse.server.generation.duration"] == 1
    assert counts["gen_ai.server.request.duration"] == 1
    assert counts["sse.server.chunks"] == 2
    assert counts["sse.server.stream.duration"] == 2
    assert counts["sse.server.active_generations"] == counts["sse.server.active_streams"] == 0
    assert "different Context" not in server.log


def test_answers_without_a_client_keep_their_places(server, client):
    started = [client.responses.create(**ASKED).id for _ in range(2)]
    with pytest.raises(openai.RateLimitError) as refused:
        client.responses.create(**ASKED)
    assert int(refused.value.response.headers["retry-after"]) >= 1
    assert refused.value.code == "rate_limit_exceeded"
    for name in started:
        with client.responses.retrieve(name, stream=True) as again:  # needs no place
            read_until(again, "Hel")
    client.responses.cancel(started[0])
    with client.responses.create(**ASKED, stream=True) as admitted:
        read_until(admitted, "Hel")
    server.get("/go")
    told = server.get("/told")["counts"]
    assert told["sse.server.refused"] == 1


def test_an_answer_that_dies_with_its_process_frees_its_place_and_is_counted(tmp_path):
    require("opentelemetry.instrumentation.asgi")
    with contextlib.ExitStack() as stack:
        redis = stack.enter_context(RedisServer())
        here, there = (
            stack.enter_context(
                serve(
                    SERVERS["uvicorn-httptools"],
                    directory=tmp_path,
                    app="tests.apps_live_operated:app",
                    environment={"LIVE_URL": redis.url},
                )
            )
            for _ in range(2)
        )
        first, second = (
            stack.enter_context(
                openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)
            )
            for server in (here, there)
        )
        name = first.responses.create(**ASKED).id
        with pytest.raises(openai.RateLimitError):
            second.responses.create(**ASKED)
        with second.responses.retrieve(name, stream=True) as viewing:
            read_until(viewing, "Hel")
            here.stop(by_force=True)
            with pytest.raises(openai.APIError, match="interrupted"):
                list(viewing)

        def is_admitted():
            with contextlib.suppress(openai.RateLimitError):
                return second.responses.create(**ASKED).status == "in_progress"

        wait_for(is_admitted, within=20, what="the place is free")
        told = there.get("/told")["counts"]
        assert told["sse.server.interrupted_generations"] == 1
        assert "sse.server.generation.duration" not in told  # nobody could measure it
        assert told["sse.server.active_generations"] == 1
        there.get("/go")


def test_a_compressed_answer_is_read_event_by_event(server):
    headers = {"accept-encoding": "gzip"}
    body = {
        "id": "chat-1",
        "messages": [{"role": "user", "parts": [{"type": "text", "text": "a"}]}],
    }
    with contextlib.ExitStack() as stack:
        readers = []
        for method, path, json in (
            ("POST", "/ai-sdk", body),
            ("GET", "/ai-sdk/chat-1/stream", None),
        ):
            answer = stack.enter_context(
                httpx.stream(method, server.url + path, json=json, headers=headers)
            )
            assert answer.headers["content-encoding"] == "gzip"
            lines = answer.iter_lines()
            assert next(line for line in lines if "Hel" in line)
            readers.append(lines)
        server.get("/go")
        for lines in readers:
            rest = [line for line in lines if line]
            assert any('"lo"' in line for line in rest)
            assert rest[-1] == "data: [DONE]"
