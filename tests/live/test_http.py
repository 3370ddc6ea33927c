"""What live answers over HTTP: where an id may stand, who may do what, and what is logged."""

import pytest

from sse_asgi.dialects import UIMessages
from sse_asgi.errors import LogRefusedError, LogUnavailableError
from sse_asgi.live import Live, MemoryLog
from sse_asgi.source.request import Request
from sse_asgi.testing import connect
from tests.live.viewers import paced, watch

pytestmark = pytest.mark.anyio


def mounted(app, root):
    """Mount as Starlette does: the scope tells the prefix, and the path keeps it."""

    async def mount(scope, receive, send):
        await app({**scope, "root_path": root}, receive, send)

    return mount


async def messages_of(app, method, path, **more):
    """Return every message that an application sends, also those after the last."""
    sent = []

    async def send(message):
        sent.append(message)

    async def receive():
        return {"type": "http.disconnect"} if sent else {"type": "http.request", "body": b""}

    scope = {"type": "http", "method": method, "path": path, "headers": [], "query_string": b""}
    await app({**scope, **more}, receive, send)
    return sent


@pytest.mark.parametrize(
    ("root", "path", "status"),
    [
        ("", "/g", 200),
        ("", "/g/", 200),
        ("", "/x/g", 404),
        ("", "/x/y/g", 404),
        ("", "//g", 404),
        ("", "/", 404),
        ("/live", "/live/g", 200),
        ("/live", "/live/x/g", 404),
        ("/live", "/g", 200),  # the framework has taken the prefix away
        ("/live", "/live", 404),
    ],
)
async def test_only_one_segment_below_the_mount_is_an_id(root, path, status):
    live = Live()
    await live.start(["a"], id="g")
    async with connect(mounted(live, root), path) as connection:
        assert connection.status == status
    await live.aclose()


@pytest.mark.parametrize("decision", [1, "yes", None, "False", [True]])
@pytest.mark.parametrize("is_async", [False, True])
async def test_another_decision_than_a_bool_is_refused_and_logged(decision, is_async, caplog):
    async def decide_later(scope, key, owner):
        return decision

    live = Live(authorize=decide_later if is_async else lambda scope, key, owner: decision)
    await live.start(["a"], id="g")
    async with connect(live, "/g") as connection:
        assert connection.status == 404
    (record,) = [each for each in caplog.records if each.exc_info]
    kind = type(decision).__name__
    assert isinstance(record.exc_info[1], TypeError)
    assert str(record.exc_info[1]) == f"authorize must return a bool, not of type {kind}"
    assert record.exc_info[1].__traceback__ is None
    await live.aclose()


async def test_without_authorize_nobody_stops_over_http_what_has_an_id_that_can_be_guessed(caplog):
    live = Live()
    chosen = await live.start(paced(["a", "b"], 0.01), id="message-7")
    made = await live.start(paced(["a"] * 10_000, 0.01))
    for _ in range(2):
        async with connect(live, "/message-7", method="DELETE") as connection:
            assert connection.status == 404
    assert sum("pass authorize to Live" in each.message for each in caplog.records) == 1
    assert (await chosen.transcript()).text == "ab"
    assert (await watch(live, "/message-7")).text == "ab"  # who may guess may watch
    async with connect(live, f"/{made.id}", method="DELETE") as connection:
        assert connection.status == 204
    assert (await made.transcript()).outcome == "stopped"
    assert await live.start(paced(["a"] * 10_000, 0.01), id="mine")
    assert await live.stop("mine")  # the application itself may
    await live.aclose()


async def test_with_authorize_a_chosen_id_may_be_stopped():
    live = Live(authorize=lambda scope, key, owner: True)
    generation = await live.start(paced(["a"] * 10_000, 0.01), id="g")
    async with connect(live, "/g", method="DELETE") as connection:
        assert connection.status == 204
    assert (await generation.transcript()).outcome == "stopped"
    await live.aclose()


async def test_a_cursor_is_found_in_a_query_of_any_length_without_parsing_it(monkeypatch):
    live = Live()
    await live.start(["a", "b"], id="g")
    first = await anext(live.follow("g"))
    monkeypatch.delattr(Request, "query_params")
    cursor = first.last_event_id.replace(":", "%3A").encode()
    for query in (
        b"last_event_id=" + cursor,
        b"a=1&" * 300_000 + b"last_event_id=" + cursor + b"&b=" + b"x" * 100_000,
        b"last_event_id=none&last_event_id=" + cursor,
        b"xlast_event_id=no&last_event_id=" + cursor + b"&y=last_event_id=no",
    ):
        body = b"".join(
            each.get("body", b"")
            for each in await messages_of(live, "GET", "/g", query_string=query)
        )
        assert body.count(b"data: ") == 2
        assert b"data: a" not in body
    long = b"last_event_id=" + cursor + b"0" * 100
    assert len(await messages_of(live, "HEAD", "/g", query_string=long)) == 2
    await live.aclose()


async def test_a_generation_as_an_application_has_the_headers_of_its_framing():
    framing = UIMessages()
    ((name, value),) = framing.headers.items()
    pairs = iter([("x-mine", "1")])  # to be read once
    for live, wanted in ((Live(headers=pairs), value), (Live(headers={name: "own"}), "own")):
        generation = await live.start(["a"], framing=framing)
        for app in (generation, await live.get(generation.id, framing=framing)):
            async with connect(app, "/any") as connection:
                assert connection.headers[name] == wanted
                assert connection.headers["x-content-type-options"] == "nosniff"
                assert connection.headers.get("x-mine") == ("1" if wanted == value else None)
        await live.aclose()


@pytest.mark.parametrize("method", ["HEAD", "PUT"])
async def test_an_answer_without_events_is_one_start_and_one_end(method):
    live = Live()
    await live.start(["a"], id="g")
    start, end = await messages_of(live, method, "/g")
    assert start["type"] == "http.response.start"
    assert end == {"type": "http.response.body", "body": b"", "more_body": False}
    fields = dict(start["headers"])
    assert (b"content-length" in fields) == (method == "PUT")
    assert fields[b"cache-control"].startswith(b"no-store")
    await live.aclose()


@pytest.mark.parametrize(
    ("kind", "later"),
    [(LogUnavailableError, "5"), (LogRefusedError, None)],
    ids=["away", "refuses"],
)
async def test_a_503_is_logged_once_for_each_cause(kind, later, caplog):
    class Away(MemoryLog):
        cause = "connection refused"

        async def look(self, key):
            raise kind(f"redis: {self.cause}") from OSError(self.cause)

    log = Away()
    live = Live(log)
    for _ in range(3):
        async with connect(live, "/g") as connection:
            assert connection.status == 503
            assert connection.headers.get("retry-after") == later
    assert [each.message.count("connection refused") for each in caplog.records] == [1]
    log.cause = "out of memory"
    async with connect(live, "/g") as connection:
        assert connection.status == 503
    assert [each.message.count("out of memory") for each in caplog.records] == [0, 1]
    await live.aclose()
