"""A stream that fails: told to its client, its log and its hook, and to nobody else."""

import logging

import anyio
import pytest

from sse_asgi import EventStream, EventStreamMiddleware, Outcome
from tests.stream.peer import BODY, START, Peer, Record, logged_errors, run

pytestmark = pytest.mark.anyio


class PlannedError(Exception):
    """What fails the streams here."""


async def fails_first(request):
    raise PlannedError
    yield


async def fails_at_once(request):
    yield "a"
    raise PlannedError


async def fails_later(request):
    yield "a"
    await anyio.sleep(0.001)
    raise PlannedError


async def fails_in_its_clean_up(request):
    try:
        yield "a"
    finally:
        raise PlannedError


async def fails_when_called(request):
    raise PlannedError


def fails_in_its_thread(request):
    yield "a"
    raise PlannedError


SOURCES = [
    fails_first,
    fails_at_once,
    fails_later,
    fails_in_its_clean_up,
    fails_when_called,
    fails_in_its_thread,
]


def assert_told_once(peer, transcript):
    """Check that log and hook have the exception, and that the server has a response that ended."""
    assert peer.closed
    assert peer.raised is None
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(transcript.error, PlannedError)
    (entry,) = [each for each in peer.log if each.levelno >= logging.WARNING]
    assert entry.name == "sse_asgi"
    assert entry.levelno == logging.ERROR
    assert entry.exc_info[1] is transcript.error
    assert function_names(entry.exc_info[2])[-1].startswith(("fail", "endpoint", "on_chunk"))


def function_names(traceback):
    names = []
    while traceback is not None:
        names.append(traceback.tb_frame.f_code.co_name)
        traceback = traceback.tb_next
    return names


@pytest.mark.parametrize("source", SOURCES)
async def test_a_source_that_raises_is_logged_once_and_not_raised_into_the_server(source):
    peer, transcript = await run(source)
    assert_told_once(peer, transcript)
    assert peer.events[-1].type == "error"


async def test_a_hook_that_raises_is_logged_once_and_not_raised_into_the_server():
    async def on_chunk(chunk):
        raise PlannedError

    peer, transcript = await run(["a"], on_chunk=on_chunk)
    assert_told_once(peer, transcript)


async def test_the_text_of_a_stream_that_fails_stays_out_of_its_log():
    async def source(request):
        yield "the patient's name"
        raise PlannedError

    peer, _ = await run(source)
    assert not any("patient" in entry.getMessage() for entry in peer.log)


async def test_with_prefetch_a_failure_after_the_first_chunk_is_not_raised_either():
    peer, transcript = await run(fails_later, prefetch=True)
    assert_told_once(peer, transcript)


async def test_a_hook_is_told_why_before_the_app_returns():
    seen = []

    async def on_complete(transcript):
        seen.append((type(transcript.error), peer.closed, peer.ended))

    async with Peer(EventStream(fails_later, on_complete=on_complete)) as peer:
        pass
    assert seen == [(PlannedError, True, False)]


async def test_the_next_request_of_the_connection_is_served():
    """A server closes the connection of an app that raises: so none may."""
    record = Record()

    async def source(request):
        yield "a"
        if request.path == "/bad":
            raise PlannedError
        yield "b"

    app = EventStream(source, on_complete=record)
    for path in ["/bad", "/good"] * 5:
        async with Peer(app, path=path) as peer:
            pass
        assert peer.raised is None
        assert peer.text == ("a" if path == "/bad" else "ab")
    assert [each.outcome for each in record] == [Outcome.FAILED, Outcome.COMPLETED] * 5


# Behind the middleware


def wrapped(app):
    record = Record()
    return EventStreamMiddleware(app, on_complete=record, shutdown=None), record


def failing_endpoint(*, awaits):
    async def endpoint(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": START, "status": 200, "headers": headers})
        await send({"type": BODY, "body": b"data: a\n\n", "more_body": True})
        if awaits:
            await anyio.sleep(0.001)
        raise PlannedError

    return endpoint


@pytest.mark.parametrize("awaits", [False, True])
async def test_an_endpoint_that_raises_is_logged_once_and_not_raised_into_the_server(awaits):
    app, record = wrapped(failing_endpoint(awaits=awaits))
    async with Peer(app) as peer:
        pass
    assert_told_once(peer, record.only)
    assert peer.events[-1].type == "error"


async def test_a_stream_that_fails_inside_of_the_middleware_is_logged_once():
    app, record = wrapped(EventStream(fails_later, shutdown=None))
    async with Peer(app) as peer:
        pass
    assert peer.raised is None
    assert [type(each) for each in logged_errors(peer.log)] == [PlannedError]
    assert record.only.outcome is Outcome.FAILED
    assert [event.type for event in peer.events] == ["message", "error"]
