"""The start of a response that waits for the first chunk, for so many seconds at most."""

import anyio
import pytest

from sse_asgi import EventStream
from sse_asgi.testing import connect

pytestmark = pytest.mark.anyio


class PlannedError(Exception):
    """What fails the streams here."""


async def fails_first(request):
    await anyio.sleep(0)
    raise PlannedError
    yield


async def test_a_failure_within_the_time_is_raised():
    with pytest.raises(PlannedError):
        async with connect(EventStream(fails_first, prefetch=30.0)):
            pass


async def test_the_stream_starts_when_the_time_is_over_and_keep_alives_go_out():
    goes_on = anyio.Event()

    async def source(request):
        await goes_on.wait()
        yield "a"

    app = EventStream(source, prefetch=0.02, heartbeat=0.02)
    with anyio.fail_after(5):
        async with connect(app) as connection:  # returns when the response has started
            assert connection.status == 200
            goes_on.set()
            assert [event.data async for event in connection] == ["a", "[DONE]"]


async def test_a_failure_after_the_time_is_an_event(caplog):
    goes_on = anyio.Event()

    async def source(request):
        await goes_on.wait()
        raise PlannedError
        yield

    with anyio.fail_after(5):
        async with connect(EventStream(source, prefetch=0.02)) as connection:
            goes_on.set()
            [event] = [event async for event in connection]
    assert event.type == "error"
    assert "PlannedError" in caplog.text


async def test_a_first_chunk_does_not_wait_for_the_time():
    with anyio.fail_after(5):
        async with connect(EventStream(["a"], prefetch=3600.0)) as connection:
            assert [event.data async for event in connection] == ["a", "[DONE]"]
