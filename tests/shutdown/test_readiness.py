"""What probes are told: 200, and 503 from the signal on, in each event loop for itself."""

import asyncio
import gc
import os
import signal
import threading

import anyio
import pytest

from sse_asgi import EventStream, Shutdown
from sse_asgi.testing import connect
from tests.shutdown.test_shutdown import STOPPING, Handler, handlers  # noqa: F401 - a fixture


async def probed(shutdown, **request):
    async with connect(shutdown.ready, **request) as answer:
        return answer.status, await answer.read()


@pytest.mark.anyio
async def test_it_is_ready_until_the_shutdown_begins():
    shutdown = Shutdown(signals=False)
    assert await probed(shutdown) == (200, b"ready\n")
    assert await probed(shutdown, method="HEAD") == (200, b"")
    shutdown.begin()
    assert await probed(shutdown) == (503, b"stopping\n")
    assert await probed(shutdown, method="HEAD") == (503, b"")


@pytest.mark.anyio
@pytest.mark.parametrize("grace", [0, 0.1, float("inf")])
async def test_a_shutdown_that_begins_before_the_first_probe_counts(grace):
    shutdown = Shutdown(grace=grace, signals=False)
    shutdown.begin()
    assert (await probed(shutdown))[0] == 503


@pytest.mark.anyio
async def test_it_stays_unready_after_the_grace():
    shutdown = Shutdown(grace=0, signals=False)
    assert (await probed(shutdown))[0] == 200
    threading.Thread(target=shutdown.begin).start()
    with anyio.fail_after(5):
        while (await probed(shutdown))[0] != 503:
            await anyio.sleep(0.01)
    assert (await probed(shutdown))[0] == 503


@pytest.mark.anyio
async def test_a_stream_that_is_open_makes_its_loop_known():
    async def source(request):
        yield "a"
        await anyio.sleep_forever()

    shutdown = Shutdown(grace=0, signals=False)
    async with connect(EventStream(source, shutdown=shutdown)) as connection:
        assert (await anext(connection)).data == "a"
        await anyio.to_thread.run_sync(shutdown.begin)
        assert (await probed(shutdown))[0] == 503


def test_a_server_that_starts_later_is_ready():
    shutdown = Shutdown(grace=0, signals=False)

    async def one():
        assert (await probed(shutdown))[0] == 200
        shutdown.begin()
        assert (await probed(shutdown))[0] == 503

    async def another():
        assert (await probed(shutdown))[0] == 200

    asyncio.run(one())
    gc.collect()
    asyncio.run(another())


@pytest.mark.parametrize("signum", STOPPING)
def test_a_signal_is_heard_though_no_stream_is_open(handlers, signum):  # noqa: F811 - a fixture
    server = Handler()
    for each in STOPPING:
        signal.signal(each, server)
    shutdown = Shutdown()

    async def main():
        assert (await probed(shutdown))[0] == 200
        assert signal.getsignal(signum) is not server
        os.kill(os.getpid(), signum)
        assert (await probed(shutdown))[0] == 503

    asyncio.run(main())
    assert server.heard == [signum]
    assert signal.getsignal(signum) is server  # put back


def test_the_handlers_are_put_back_when_the_event_loop_is_gone(handlers):  # noqa: F811 - a fixture
    server = Handler()
    for each in STOPPING:
        signal.signal(each, server)
    shutdown = Shutdown()

    async def main():
        assert (await probed(shutdown))[0] == 200

    asyncio.run(main())
    gc.collect()
    assert [signal.getsignal(each) for each in STOPPING] == [server, server]


def test_a_shutdown_that_begins_in_another_thread_leaves_the_handlers_to_the_main_one(handlers):  # noqa: F811
    server = Handler()
    for each in STOPPING:
        signal.signal(each, server)
    shutdown = Shutdown(grace=0)

    async def main():
        assert (await probed(shutdown))[0] == 200
        thread = threading.Thread(target=shutdown.begin)
        thread.start()
        thread.join()
        assert (await probed(shutdown))[0] == 503

    asyncio.run(main())
    gc.collect()
    assert [signal.getsignal(each) for each in STOPPING] == [server, server]


def test_a_shutdown_begins_though_a_probe_came_to_another_thread(handlers):  # noqa: F811
    shutdown, asked, begun = Shutdown(grace=0), threading.Event(), threading.Event()
    statuses = []

    async def main():
        statuses.append((await probed(shutdown))[0])
        asked.set()
        await anyio.to_thread.run_sync(begun.wait, 5)
        statuses.append((await probed(shutdown))[0])

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    assert asked.wait(5)
    shutdown.begin()
    begun.set()
    thread.join(5)
    assert statuses == [200, 503]


def test_without_signals_none_is_chained(handlers):  # noqa: F811 - a fixture
    server = Handler()
    for each in STOPPING:
        signal.signal(each, server)

    async def main():
        assert (await probed(Shutdown(signals=False)))[0] == 200
        assert signal.getsignal(signal.SIGTERM) is server

    asyncio.run(main())


@pytest.mark.anyio
async def test_it_answers_nothing_but_http():
    with pytest.raises(ValueError, match="mount it, or route a path to it"):
        await Shutdown().ready({"type": "lifespan"}, None, None)
