"""Viewers over HTTP: how many there may be, and what their responses are compressed with."""

import json
import logging
import subprocess
import sys

import pytest

from sse_asgi import JSONFraming, TextFraming
from sse_asgi import compression as module
from sse_asgi.dialects import ChatCompletions
from sse_asgi.limits import Limits
from sse_asgi.live import Live
from sse_asgi.testing import connect
from tests.compressed import CODINGS, bodies_of
from tests.limits.visits import Visit
from tests.live.viewers import paced, words

pytestmark = pytest.mark.anyio
DIALECT = ChatCompletions("m", id="x")
LONG = paced(["a"] * 10_000, 0.01)


def taken(limits):
    return limits._places._open


# Limits


async def test_a_viewer_above_the_bound_gets_429_and_the_generation_goes_on():
    limits = Limits(1)
    live = Live(limits=limits, headers={"access-control-allow-origin": "*"})
    generation = await live.start(LONG, id="g")
    async with connect(live, "/g") as admitted:
        await anext(admitted)
        for app, path in ((live, "/g"), (generation, "/")):
            async with connect(app, path) as refused:
                assert refused.status == 429
                assert int(refused.headers["retry-after"]) >= 1
                assert refused.headers["access-control-allow-origin"] == "*"
                assert "as many streams open" in json.loads(await refused.read())["message"]
    assert taken(limits) == 0
    async with connect(live, "/g") as admitted:
        assert admitted.status == 200
    await live.aclose(drain=0)


async def test_the_library_itself_and_answers_without_events_need_no_place():
    limits = Limits(1)
    live = Live(limits=limits)
    await live.start(LONG, id="g")
    await (await live.start(["a"], id="over")).transcript()
    async with connect(live, "/over") as viewer:
        events = [event async for event in viewer]
        cursor = viewer.decoder.last_event_id
    assert events[-1].data == "[DONE]"
    async with connect(live, "/g") as viewer:
        await anext(viewer)
        assert taken(limits) == 1
        for path, method, status in (
            ("/g", "HEAD", 200),
            ("/none", "GET", 404),
            ("/g", "PUT", 405),
            ("/g", "DELETE", 404),
            (f"/over?last_event_id={cursor}", "GET", 204),
        ):
            async with connect(live, path, method=method) as other:
                assert other.status == status
        following = live.follow("g")
        assert (await anext(following)).data == "a"
        await following.aclose()
    await live.aclose(drain=0)
    assert taken(limits) == 0


# Compression


async def seen(app, path="/g", accept="gzip", method="GET"):
    """Return the response's headers, and the messages of its body."""
    visit = Visit(app, path=path, method=method)
    visit.scope["headers"].append((b"accept-encoding", accept.encode()))
    await visit.run()
    return visit.headers, visit.sent[1:]


@pytest.mark.parametrize("coding", CODINGS)
async def test_each_message_to_a_viewer_can_be_read_by_itself(coding):
    live = Live(compress=CODINGS)
    generation = await live.start(paced(["one", "two"]), id="g", framing=DIALECT)
    for app in (live, generation):
        headers, messages = await seen(app, accept=coding)
        assert headers["content-encoding"] == coding
        assert headers["vary"] == "accept-encoding"
        assert headers["generation-id"] == "g"
        bodies = bodies_of(messages, coding)
        assert all(body.endswith(b"\n\n") for body in bodies if body)
        _, plain = await seen(app, accept="identity")
        assert b"".join(bodies) == b"".join(each["body"] for each in plain)
    await live.aclose()


@pytest.mark.parametrize(
    ("framing", "compress", "coding"),
    [
        (TextFraming(), ("gzip",), None),
        (JSONFraming(), ("gzip",), "gzip"),
        (JSONFraming(), ("zstd",), None),
        (JSONFraming(), ("zstd", "gzip"), "gzip"),
        (DIALECT, ("zstd", "gzip"), "zstd"),
    ],
    ids=repr,
)
async def test_a_framing_is_compressed_as_far_as_it_gains_by_it(
    framing, compress, coding, caplog, monkeypatch
):
    if not {*compress} <= {*CODINGS}:
        pytest.skip("needs zstd: Python 3.14 or backports.zstd")
    monkeypatch.setattr(module, "_told", set())
    live = Live(compress=compress)
    await (await live.start(words(3), id="g", framing=framing)).transcript()
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            headers, messages = await seen(live, accept="zstd, gzip")
    assert headers.get("content-encoding") == coding
    assert len(bodies_of(messages, coding) if coding else messages) == len(messages)
    warnings = [each.message for each in caplog.records]
    assert warnings == (
        []
        if coding
        else [f"compress is off: {type(framing).__name__}'s events get no smaller by it"]
    )
    await live.aclose()


async def test_head_says_what_get_would():
    live = Live(compress=("gzip",))
    await (await live.start(["a"], id="g", framing=DIALECT)).transcript()
    headers, messages = await seen(live, method="HEAD")
    assert headers["content-encoding"] == "gzip"
    assert [message["body"] for message in messages] == [b""]
    await live.aclose()


async def test_without_the_option_nothing_is_compressed():
    live = Live()
    await (await live.start(["a"], id="g", framing=DIALECT)).transcript()
    headers, _ = await seen(live)
    assert not {"content-encoding", "vary"} & {*headers}
    await live.aclose()


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"compress": "gzip"}, TypeError, "compress must be a tuple"),
        ({"compress": ("br",)}, ValueError, "compress may hold zstd and gzip, not 'br'"),
        (
            {"compress": ("gzip",), "headers": {"cache-control": "no-transform"}},
            ValueError,
            "contradicts no-transform",
        ),
        ({"limits": 5}, TypeError, "limits must be a Limits or None, not 5"),
    ],
)
async def test_wrong_values_raise_at_once(options, kind, said):
    with pytest.raises(kind, match=said):
        Live(**options)


def test_what_is_not_used_is_not_imported():
    code = """
import sys
from sse_asgi.chat import ChatApp
from sse_asgi.live import Live
ChatApp(lambda chat: [], live=Live())
unused = ("sse_asgi.compression", "sse_asgi.limits", "sse_asgi.telemetry", "opentelemetry")
assert not [name for name in sys.modules if name.startswith(unused)]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
