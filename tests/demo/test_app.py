"""The demo's routes, in process."""

import asyncio
import json
import re

import anyio
import pytest

from sse_asgi.demo.app import LONGEST_PROMPT, create_app
from sse_asgi.demo.openai import EndpointError
from sse_asgi.testing import connect

pytestmark = pytest.mark.anyio
ID = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def anyio_backend():
    """Starlette runs under both, but uvicorn, which serves the demo, under asyncio alone."""
    return "asyncio"


class Source:
    """Says what the test wants."""

    name = "a test"
    detail = "It says what it is told."

    def __init__(self):
        self.closed = asyncio.Event()

    async def answer(self, prompt):
        try:
            yield prompt
            yield " \ud83d\r\n"
            if prompt == "wait":
                await asyncio.Event().wait()
            if prompt == "fail":
                raise RuntimeError("secret")
            if prompt == "refuse":
                raise EndpointError("the endpoint answered 401: no such key")
            yield "end"
        finally:
            self.closed.set()


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def app(source):
    return create_app(source)


async def get_json(app, path):
    async with connect(app, path) as connection:
        body = b""
        while part := await connection.read():
            body += part
        return connection.status, json.loads(body)


async def generate(app, prompt, id_=ID):
    async with connect(
        app, f"/generations/{id_}", method="POST", json={"prompt": prompt}
    ) as connection:
        assert connection.status == 200
        return [(event.type, event.data) async for event in connection]


async def test_a_prompt_gets_a_stream_and_a_transcript(app, source):
    events = await generate(app, "hi")
    assert events == [
        ("message", '"hi"'),
        ("message", '" \\ud83d\\r\\n"'),
        ("message", '"end"'),
        ("message", "[DONE]"),
    ]
    status, transcript = await get_json(app, f"/transcripts/{ID}")
    assert status == 200
    assert transcript.pop("duration") >= transcript.pop("time_to_first_chunk") >= 0
    assert transcript == {
        "text": "hi \ud83d\r\nend",
        "outcome": "completed",
        "chunks": 3,
        "sent_chunks": 3,
    }


async def test_a_generation_outlives_its_viewer_until_it_is_stopped(app, source):
    with anyio.fail_after(10):
        path = f"/generations/{ID}"
        async with connect(app, path, method="POST", json={"prompt": "wait"}) as connection:
            await anext(connection)
            await connection.disconnect()
        async with connect(app, path) as connection:
            assert (await anext(connection)).data == '"wait"'
            reader = asyncio.create_task(get_json(app, f"/transcripts/{ID}"))
            await anyio.wait_all_tasks_blocked()
            assert not reader.done()
            assert not source.closed.is_set()
            async with connect(app, path, method="DELETE") as stopping:
                assert stopping.status == 204
            assert [event.data async for event in connection][-1] == "[DONE]"
            status, transcript = await reader
    assert (status, transcript["outcome"], transcript["text"]) == (
        200,
        "stopped",
        "wait \ud83d\r\n",
    )
    assert source.closed.is_set()


async def test_an_unknown_generation_is_a_404_and_starts_nothing(app):
    expected = (404, {"message": f"no generation {ID}"})
    assert await get_json(app, f"/transcripts/{ID}") == expected
    async with connect(app, f"/generations/{ID}") as connection:
        assert connection.status == 404


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("fail", "the source failed"), ("refuse", "the endpoint answered 401: no such key")],
)
async def test_a_failure_is_told_as_far_as_it_is_the_users(app, prompt, message):
    events = await generate(app, prompt)
    assert events[-1] == ("error", json.dumps({"message": message}))
    _, transcript = await get_json(app, f"/transcripts/{ID}")
    assert (transcript["outcome"], transcript["chunks"]) == ("failed", 2)


async def test_the_source_is_described(app):
    assert await get_json(app, "/source") == (
        200,
        {"name": "a test", "detail": "It says what it is told."},
    )


@pytest.mark.parametrize(
    ("id_", "status"), [("x", 404), (ID.upper(), 404), (ID + "0", 404), ("%2e%2e", 404)]
)
async def test_an_id_has_one_form(app, id_, status):
    path = f"/generations/{id_}"
    async with connect(app, path, method="POST", json={"prompt": "hi"}) as connection:
        assert connection.status == status


@pytest.mark.parametrize("body", [{}, [], "prompt", 7, None, {"prompt": 7}, {"prompt": None}])
async def test_a_body_without_a_prompt_is_a_clear_400(app, body):
    async with connect(
        app,
        f"/generations/{ID}",
        method="POST",
        headers={"content-type": "application/json"},
        json=body,
    ) as connection:
        assert connection.status == 400
        assert b"message" in await connection.read()


@pytest.mark.parametrize(
    ("length", "status"),
    [(LONGEST_PROMPT, 200), (LONGEST_PROMPT + 1, 400), (100_000, 413)],
)
async def test_a_prompt_has_a_longest_length(app, length, status):
    prompt = {"prompt": "x" * length}
    async with connect(app, f"/generations/{ID}", method="POST", json=prompt) as connection:
        assert connection.status == status


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
async def test_another_sites_page_cannot_send_a_prompt_unasked(app, content_type):
    """Of these content types a browser asks nobody; JSON it sends to the page's own site only."""
    async with connect(
        app,
        f"/generations/{ID}",
        method="POST",
        headers={"content-type": content_type},
        json={"prompt": "hi"},
    ) as connection:
        assert connection.status == 415
        assert "access-control-allow-origin" not in connection.headers


@pytest.mark.parametrize(
    ("path", "content_type"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/page.css", "text/css; charset=utf-8"),
        ("/page.mjs", "text/javascript; charset=utf-8"),
        ("/icon.svg", "image/svg+xml"),
    ],
)
async def test_the_page_comes_with_a_strict_policy(app, path, content_type):
    async with connect(app, path) as connection:
        assert connection.status == 200
        assert connection.headers["content-type"] == content_type
        policy = connection.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "unsafe" not in policy
        assert connection.headers["x-content-type-options"] == "nosniff"


async def test_the_page_has_no_inline_code_and_asks_nobody_else(app):
    async with connect(app, "/") as connection:
        page = (await connection.read()).decode()
    assert re.findall(r"<script[^>]*>", page) == ['<script type="module" src="page.mjs">']
    assert '<script type="module" src="page.mjs"></script>' in page
    assert not re.search(r"\son\w+=|\sstyle=|<style|https?://", page)
