"""The failure table, with a real Redis that is killed, paused, emptied and rolled back."""

import asyncio
import contextlib
import itertools
import random
import signal
import socket
import time

import pytest
import redis

from sse_asgi import Outcome
from sse_asgi.live import FencedError, Live, LogRefusedError, LogUnavailableError
from sse_asgi.live.redis import RedisLog
from tests.live.proxy import Proxy
from tests.live.redis_server import RedisServer
from tests.live.viewers import paced, watch, words

pytestmark = [pytest.mark.anyio, pytest.mark.matrix]
prefixes = (f"chaos-{number}" for number in itertools.count())


@pytest.fixture
def server():
    """A server of this test's own, to be ill-treated."""
    with RedisServer() as server:
        yield server


@contextlib.asynccontextmanager
async def hubs(url, count=2, *, lease=2.0, timeout=1.0, **options):
    """Yield that many `Live`, each with connections of its own, as in as many processes."""
    prefix = next(prefixes)
    opened = [Live(RedisLog(url, prefix=prefix, lease=lease, timeout=timeout), **options)
              for _ in range(count)]  # fmt: skip
    try:
        yield opened
    finally:
        for live in opened:
            await live.aclose(drain=0)


async def test_every_text_survives_a_redis_that_is_killed_twice(server):
    chunks = {f"g{n}": words(250, n) for n in range(8)}
    async with hubs(server.url, lease=5.0) as (here, there):
        generations = [await here.start(paced(text), id=key) for key, text in chunks.items()]
        watching = [
            asyncio.create_task(watch(live, f"/{key}"))
            for key in chunks for live in (here, there, there)
        ]  # fmt: skip
        for _ in range(2):
            await asyncio.sleep(0.3)
            server.kill()
            await asyncio.sleep(0.2)
            await asyncio.to_thread(server.start)
        seen = await asyncio.gather(*watching)
        wanted = ["".join(chunks[key]) for key in chunks for _ in range(3)]
        assert [each.text for each in seen] == wanted
        assert all(each.done and not each.errors for each in seen)
        for generation, text in zip(generations, chunks.values(), strict=True):
            transcript = await generation.transcript()
            assert (transcript.text, transcript.outcome) == ("".join(text), Outcome.COMPLETED)


async def test_a_silent_generation_returns_to_a_redis_that_was_emptied(server):
    spoken = asyncio.Event()

    async def source():
        for chunk in first:
            yield chunk
        await spoken.wait()
        yield "last"

    first = words(40)
    async with hubs(server.url, lease=2.0) as (here, there):
        await here.start(source, id="g")
        early = asyncio.create_task(watch(there, "/g"))
        await asyncio.sleep(0.2)
        server.kill()
        await asyncio.to_thread(server.start)
        # Nobody appends; the beat finds the log missing and brings it back.
        late = asyncio.create_task(watch(there, "/g", retries=50))
        await asyncio.sleep(1.0)
        spoken.set()
        for seen in await asyncio.gather(early, late):
            assert seen.text == "".join(first) + "last"
            assert seen.done


async def test_viewers_wait_through_a_short_pause_of_redis(server):
    chunks = words(300)
    async with hubs(server.url, lease=5.0, timeout=0.5) as (here, there):
        await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
        await asyncio.sleep(0.3)
        server.send(signal.SIGSTOP)
        await asyncio.sleep(2.0)
        server.send(signal.SIGCONT)
        for seen in await asyncio.gather(*watching):
            assert seen.text == "".join(chunks)
            assert seen.done
            assert seen.errors == []


async def test_a_pause_longer_than_the_lease_ends_the_generation(server):
    closed = asyncio.Event()

    async def source():
        try:
            for number in itertools.count():
                yield f"{number} "
                await asyncio.sleep(0.01)
        finally:
            closed.set()

    async with hubs(server.url, lease=1.0, timeout=0.3) as (here, there):
        generation = await here.start(source, id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
        await asyncio.sleep(0.3)
        server.send(signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                transcript = await generation.transcript()
                seen = await asyncio.gather(*watching)
        finally:
            server.send(signal.SIGCONT)
        assert closed.is_set()
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(transcript.error, LogUnavailableError)
        for each in seen:
            assert len(each.errors) == 1
            assert transcript.text.startswith(each.text)
            assert not each.done


async def test_a_swallowed_reply_doubles_nothing(server):
    chunks = words(300)
    async with Proxy(server.port) as proxy:  # noqa: SIM117 - the URL is the proxy's
        async with hubs(f"redis://127.0.0.1:{proxy.port}", lease=5.0) as (here, there):
            await here.start(paced(chunks), id="g")
            watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
            for _ in range(5):
                await asyncio.sleep(0.2)
                proxy.swallow += 1
            for seen in await asyncio.gather(*watching):
                assert seen.text == "".join(chunks)
                assert seen.done
            assert proxy.swallowed == 5


async def test_a_rolled_back_redis_gets_its_tail_again(server):
    chunks = words(300)
    client = server.client()
    async with hubs(server.url, lease=5.0) as (here, there):
        await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
        for _ in range(3):
            await asyncio.sleep(0.15)
            # A failover to a replica that lagged: all keys as they were some time ago.
            dumps = {key: (await client.dump(key), await client.pttl(key))
                     async for key in client.scan_iter()}  # fmt: skip
            await asyncio.sleep(0.2)
            async with client.pipeline(transaction=True) as pipeline:
                pipeline.flushall()
                for key, (dump, ttl) in dumps.items():
                    if dump:
                        pipeline.restore(key, max(ttl, 0), dump)
                await pipeline.execute()
        late = await watch(there, "/g")
        for seen in [late, *await asyncio.gather(*watching)]:
            assert seen.text == "".join(chunks)
            assert seen.done
    await client.aclose()


async def test_a_silent_generation_gives_a_rolled_back_redis_its_tail_again(server):
    more, last = asyncio.Event(), asyncio.Event()

    async def source():
        for chunk in first:
            yield chunk
        await more.wait()
        for chunk in second:
            yield chunk
        await last.wait()

    first, second = words(20), words(20, 1)
    client = server.client()
    async with hubs(server.url, lease=5.0) as (here, there):
        generation = await here.start(source, id="g")
        await asyncio.sleep(0.2)
        dumps = {key: (await client.dump(key), await client.pttl(key))
                 async for key in client.scan_iter()}  # fmt: skip
        more.set()
        await asyncio.sleep(0.2)
        for key, (dump, ttl) in dumps.items():
            await client.restore(key, max(ttl, 0), dump, replace=True)
        # Nobody appends; the beat finds less than was acknowledged.
        pieces = []
        async with asyncio.timeout(10):
            async for event in there.follow("g"):
                pieces.append(event.data)
                if len(pieces) == 40:
                    break
        assert "".join(pieces) == "".join(first + second)
        last.set()
        assert (await generation.transcript()).text == "".join(first + second)
    await client.aclose()


async def test_a_snapshot_without_a_lease_does_not_bury_the_living(server):
    chunks = words(200)
    client = server.client()
    async with hubs(server.url, lease=3.0) as (here, there):
        await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
        for _ in range(3):
            await asyncio.sleep(0.2)
            # A snapshot older than the lease: the log is back, the lease in it has run out.
            async with asyncio.timeout(10):
                while not (keys := [key async for key in client.scan_iter("*own")]):
                    await asyncio.sleep(0.02)
            assert await client.delete(*keys)
        for seen in await asyncio.gather(*watching):
            assert seen.text == "".join(chunks)
            assert seen.done
            assert seen.errors == []
    await client.aclose()


async def test_an_evicted_log_is_brought_back(server):
    chunks = words(600)
    client = server.client()
    async with hubs(server.url, lease=3.0) as (here, there):
        await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
        for _ in range(3):
            await asyncio.sleep(0.2)
            assert await client.delete(*[key async for key in client.scan_iter("*log")])
            # Soon it is whole again, from its first event on, while it still runs.
            async with asyncio.timeout(10):
                while (head := await there._generations.log.look("g")) is None:
                    await asyncio.sleep(0.02)
                assert (await anext(there.follow("g"))).data == chunks[0]
            assert head.ending is None
        for seen in await asyncio.gather(*watching):
            assert seen.text == "".join(chunks)
            assert seen.done
    await client.aclose()


async def test_a_silent_generation_ends_too_when_redis_stays_away(server):
    async def source():
        yield "a"
        await asyncio.Event().wait()

    async with hubs(server.url, lease=1.0, timeout=0.3) as (here, there):
        generation = await here.start(source, id="g")
        watching = asyncio.create_task(watch(there, "/g"))
        await asyncio.sleep(0.3)
        server.send(signal.SIGSTOP)
        try:
            async with asyncio.timeout(15):
                transcript = await generation.transcript()
                seen = await watching
        finally:
            server.send(signal.SIGCONT)
        assert (transcript.text, transcript.outcome) == ("a", Outcome.FAILED)
        assert isinstance(transcript.error, LogUnavailableError)
        assert (seen.text, len(seen.errors)) == ("a", 1)


async def test_flushed_scripts_are_sent_again(server):
    chunks = words(150)
    client = server.client()
    async with hubs(server.url) as (here, there):
        await here.start(paced(chunks), id="g")
        watching = asyncio.create_task(watch(there, "/g"))
        for _ in range(5):
            await asyncio.sleep(0.1)
            await client.script_flush()
        assert (await watching).text == "".join(chunks)
    await client.aclose()


async def test_lost_pushes_are_read_from_the_log(server):
    chunks = words(400)
    rng = random.Random(7)
    client = server.client()
    async with hubs(server.url) as (here, there):
        await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there, there)]
        cut = 0
        while not all(task.done() for task in watching):
            # As the server does with a subscriber that does not keep up.
            cut += await client.client_kill_filter(_type="pubsub")
            await asyncio.sleep(rng.uniform(0.1, 0.4))
        assert cut > 2
        for task in watching:
            assert task.result().text == "".join(chunks)
            assert task.result().done
    await client.aclose()


async def test_single_pushes_that_get_lost_leave_no_hole(server, monkeypatch):
    from sse_asgi.live.redis.follow import Follower

    rng = random.Random(3)
    hear = Follower.hear
    dropped = 0

    def unreliable(follower, message):
        nonlocal dropped
        if message is not None and rng.random() < 0.3:
            dropped += 1
        else:
            hear(follower, message)

    monkeypatch.setattr(Follower, "hear", unreliable)
    chunks = words(400)
    async with hubs(server.url) as (here, there):
        await here.start(paced(chunks), id="g")
        for seen in await asyncio.gather(*(watch(live, "/g") for live in (here, there, there))):
            assert seen.text == "".join(chunks)
            assert seen.done
    assert dropped > 50


async def test_a_producer_whose_loop_stalled_is_fenced(server):
    stall = 0.0

    async def source():
        nonlocal stall
        for number in itertools.count():
            yield f"{number} "
            await asyncio.sleep(0.01)
            time.sleep(stall)
            stall = 0.0

    prefix = next(prefixes)
    here = Live(RedisLog(server.url, prefix=prefix, lease=1.0))
    ended = []
    generation = await here.start(source, id="g")
    watching = asyncio.create_task(watch(here, "/g"))
    await asyncio.sleep(0.2)

    def elsewhere():
        async def follow():
            there = Live(RedisLog(server.url, prefix=prefix, lease=1.0))
            ended.append(await watch(there, "/g"))
            await there.aclose()

        asyncio.run(follow())

    other = asyncio.create_task(asyncio.to_thread(elsewhere))
    await asyncio.sleep(0.3)
    stall = 4.0
    await other
    transcript = await generation.transcript()
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(transcript.error, FencedError)
    assert len(ended[0].errors) == 1
    assert transcript.text.startswith(ended[0].text)
    assert len((await watching).errors) == 1
    await here.aclose()


async def test_a_generation_that_redis_refuses_holds_up_no_other(server):
    chunks = words(150)
    client = server.client()
    async with hubs(server.url, lease=1.5) as (here, there):
        broken = await here.start(paced(words(100_000)), id="broken")
        await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there)]
        for key in [key async for key in client.scan_iter("*broken}:own")]:
            await client.set(key, "of another type")
        for seen in await asyncio.gather(*watching):
            assert seen.text == "".join(chunks)
            assert seen.done
        transcript = await broken.transcript()
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(transcript.error, LogRefusedError)
        assert isinstance(transcript.error.__cause__, redis.ResponseError)
    await client.aclose()


async def test_a_reply_that_is_none_ends_the_connection_and_says_so():
    async def answer(reader, writer):
        await reader.read(1000)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        live = Live(RedisLog(f"redis://127.0.0.1:{port}", prefix="none", timeout=0.3))
        with pytest.raises(LogUnavailableError, match="redis"):
            await live.start(paced(["a"]))
        await live.aclose()


async def test_start_without_redis_says_so():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    live = Live(RedisLog(f"redis://127.0.0.1:{port}", prefix="none", timeout=0.3))
    with pytest.raises(LogUnavailableError, match="redis"):
        await live.start(paced(["a"]))
    await live.aclose()
