"""The demo's routes, in process."""

import asyncio
import json
import re

import anyio
import pytest

from sse_asgi.demo.app import create_app
from sse_asgi.demo.openai import EndpointError
from sse_asgi.demo.reading import LONGEST_PROMPT
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
        self.held = asyncio.Event()
        self.release = None

    is_repeatable = True

    async def answer(self, prompt, *, seed=None):
        try:
            yield prompt
            yield " \ud83d\r\n"
            if prompt == "held":
                self.held.set()
                await self.release.wait()
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
        {
            "name": "a test",
            "detail": "It says what it is told.",
            "repeatable": True,
            "killable": False,
        },
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
        ("/lane.mjs", "text/javascript; charset=utf-8"),
        ("/run.mjs", "text/javascript; charset=utf-8"),
        ("/viewer.mjs", "text/javascript; charset=utf-8"),
        ("/plain.mjs", "text/javascript; charset=utf-8"),
        ("/story.mjs", "text/javascript; charset=utf-8"),
        ("/stream.mjs", "text/javascript; charset=utf-8"),
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


# The plain lane, and what the page can do to both


async def plain(app, prompt, key=f"{ID}p0"):
    async with connect(app, f"/plain/{key}", method="POST", json={"prompt": prompt}) as connection:
        body = b""
        while part := await connection.read():
            body += part
        return connection.status, body.decode()


async def test_the_plain_lane_answers_the_same_and_keeps_nothing(app):
    assert await plain(app, "hi") == (
        200,
        "hi ?\r\nend",
    )  # half a character is none on a plain wire
    status, _ = await get_json(app, f"/transcripts/{ID}")
    assert status == 404


async def test_what_both_lanes_make_can_be_watched_and_resumed(app):
    await generate(app, "hi")
    await plain(app, "ho")
    url = f"/watch?key={ID}&key={ID}p0"
    async with connect(app, url) as connection:
        events = [event async for event in connection]
    assert events.pop().data == "[DONE]"
    made = {key: [json.loads(e.data) for e in events if e.type == key] for key in (ID, f"{ID}p0")}
    assert made == {ID: ["hi", " \ud83d\r\n", "end"], f"{ID}p0": ["ho", " \ud83d\r\n", "end"]}
    headers = {"last-event-id": events[3].last_event_id}
    async with connect(app, url, headers=headers) as connection:
        rest = [event async for event in connection]
    assert [(e.type, e.data) for e in rest[:-1]] == [(e.type, e.data) for e in events[4:]]


@pytest.mark.parametrize("cursors", ["x", "[]", "{", "7", "[" * 9_000])
async def test_cursors_that_are_none_begin_anew(app, cursors):
    await generate(app, "hi")
    headers = {"last-event-id": cursors}
    async with connect(app, f"/watch?key={ID}&key=../x", headers=headers) as connection:
        assert len([event async for event in connection]) == 4


@pytest.mark.parametrize("key", [ID, f"{ID}p0"])
async def test_a_lane_can_be_made_to_fail(app, source, key):
    async with connect(app, f"/failures/{key}", method="POST", json={}) as unknown:
        assert unknown.status == 404
    release = source.release = asyncio.Event()
    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(plain if "p" in key else generate, app, "held", key)
            await source.held.wait()
            async with connect(app, f"/failures/{key}", method="POST", json={}) as failing:
                assert failing.status == 204
            release.set()
    assert source.closed.is_set()


@pytest.mark.parametrize("path", ["/plain/{}p0", "/failures/{}", "/worker/kill"])
async def test_another_sites_page_cannot_disturb_a_stream(app, path):
    headers = {"content-type": "text/plain"}
    url = path.format(ID)
    async with connect(app, url, method="POST", headers=headers, json={}) as connection:
        assert connection.status == 415


async def test_what_is_meant_for_another_worker_is_refused(app):
    for path in (f"/plain/{ID}p0?worker=1", f"/plain/{ID}p1?worker=x"):
        async with connect(app, path, method="POST", json={"prompt": "x"}) as connection:
            assert connection.status == 421
            assert connection.headers["connection"] == "close"
            assert connection.headers["x-worker"] != "1"


async def test_the_only_process_cannot_be_killed(app):
    async with connect(app, "/worker/kill", method="POST", json={}) as connection:
        assert connection.status == 403
