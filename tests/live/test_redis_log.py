"""What `RedisLog` does about a Redis that is slow, full, empty, or refuses; and its costs."""

import asyncio
import gc
import math
import pathlib
import signal
import weakref

import pytest
import redis

from sse_asgi import Outcome
from sse_asgi.live import (
    INTERRUPTED,
    Ending,
    Live,
    LogRefusedError,
    LogUnavailableError,
)
from sse_asgi.live.log import BATCH_BYTES, LOST
from sse_asgi.live.redis import RedisLog
from tests.live.proxy import Proxy
from tests.live.redis_server import RedisServer, free_port
from tests.live.test_chaos import hubs, prefixes
from tests.live.viewers import paced, watch, words

pytestmark = [pytest.mark.anyio, pytest.mark.matrix]
DONE = Ending("completed")
MEGABYTE = 1024 * 1024


def resident():
    """Return this process's memory, in bytes."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def store(log, key, *, size):
    """Store a finished generation of that many bytes, in events of a kilobyte."""
    meta = '{"owner": null, "started_at": "2026-01-01T00:00:00+00:00"}'
    await log.create(key, "token", meta, keep=600.0)
    event = b"data: " + b"x" * 992 + b"\n\n"
    last = 0
    while last * len(event) < size:
        last = (await log.append(key, "token", last, [event] * 60)).tail
    await log.finish(key, "token", last, [b"data: [DONE]\n\n"], DONE)
    return last * len(event)


async def replay(live, key):
    """Be a viewer that takes what it is sent, and keeps nothing; return how many bytes."""
    size = 0

    async def send(message):
        nonlocal size
        size += len(message.get("body", b""))
        await asyncio.sleep(0)

    async def receive():
        return await asyncio.get_running_loop().create_future()

    scope = {"type": "http", "method": "GET", "path": f"/{key}", "query_string": b"", "headers": []}
    await live(scope, receive, send)
    return size


# Replays


async def test_a_hundred_viewers_that_replay_twenty_megabytes_interrupt_nobody(redis_server):
    running = {f"g{number}": words(2_000, number) for number in range(20)}
    async with hubs(redis_server.url, lease=5.0, timeout=5.0) as (here, _):
        size = await store(here._generations.log, "large", size=20 * MEGABYTE)
        generations = [await here.start(paced(text), id=key) for key, text in running.items()]
        before = resident()
        replays = [asyncio.create_task(replay(here, "large")) for _ in range(100)]
        most = before
        while not all(task.done() for task in replays):
            most = max(most, resident())
            await asyncio.sleep(0.05)
        assert [task.result() > size for task in replays] == [True] * 100
        assert most - before < 100 * MEGABYTE
        for generation, text in zip(generations, running.values(), strict=True):
            transcript = await generation.transcript()
            assert (transcript.text, transcript.outcome) == ("".join(text), Outcome.COMPLETED)


async def test_those_who_read_the_same_place_share_one_bounded_batch(redis_server):
    client = redis_server.client()
    log = RedisLog(redis_server.url, prefix=next(prefixes))
    size = await store(log, "g", size=MEGABYTE)

    async def calls():
        return (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]

    before = await calls()
    batches = await asyncio.gather(*(log.read("g", "token", 0) for _ in range(50)))
    batches.append(await log.read("g", "token", 0))
    assert len({id(batch) for batch in batches}) == 1
    assert await calls() == before + 1
    after, sizes = 0, []
    while (batch := await log.read("g", "token", after)).ending is None:
        sizes.append(sum(map(len, batch.events)))
        after = batch.last
    assert sum(sizes) <= size
    assert max(sizes) <= BATCH_BYTES
    await log.aclose()
    await client.aclose()


async def test_an_event_that_is_larger_than_a_batch_comes_alone(redis_server):
    log = RedisLog(redis_server.url, prefix=next(prefixes))
    await log.create("g", "t", "", keep=60.0)
    events = [b"a", b"b" * (4 * BATCH_BYTES), b"c"]
    for last, event in enumerate(events):
        await log.append("g", "t", last, [event])
    found = []
    while (batch := await log.read("g", "t", len(found))).events:
        found += batch.events
        assert len(batch.events) == 1 or sum(map(len, batch.events)) <= BATCH_BYTES
    assert found == events
    await log.aclose()


# A Redis that has come back empty


async def test_who_comes_while_redis_is_empty_waits_for_the_producer():
    gate = asyncio.Event()

    async def source():
        for chunk in first:
            yield chunk
        await gate.wait()
        yield "last"

    first = words(40)
    with RedisServer() as server:
        async with hubs(server.url, lease=4.0) as (here, there):
            await here.start(source, id="g")
            assert (await anext(there.follow("g"))).data == first[0]
            client = server.client()
            await client.flushall()
            watching = [asyncio.create_task(watch(there, "/g")) for _ in range(24)]
            gate.set()
            for seen in await asyncio.gather(*watching):
                assert (seen.text, seen.statuses[0]) == ("".join(first) + "last", 200)
            # Nobody brings this one back.
            assert (await watch(there, "/none")).statuses == [404]
            await client.aclose()


async def test_an_evicted_log_of_somebody_who_lives_is_waited_for(redis_server):
    client = redis_server.client()
    log = RedisLog(redis_server.url, prefix=next(prefixes), lease=5.0)
    await log.create("g", "t", "m", keep=60.0)
    assert await client.delete(*[key async for key in client.scan_iter("*g}:log")])
    looking = asyncio.create_task(log.look("g"))
    await asyncio.sleep(0.3)
    assert not looking.done()
    await log.attach("g", "t", "m", keep=60.0)
    assert (await looking).meta == "m"
    await log.aclose()
    await client.aclose()


async def test_an_unknown_id_is_answered_at_once_when_redis_has_had_its_data_for_a_while():
    with RedisServer() as server:
        log = RedisLog(server.url, prefix="p", lease=0.6)
        for _ in range(2):  # a slow first look may give up before the server has the age
            assert await log.look("none") is None
        client = server.client()
        before = (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]
        assert await log.look("none") is None
        assert (await client.info("commandstats"))["cmdstat_evalsha"]["calls"] == before + 2
        await log.aclose()
        await client.aclose()


async def test_a_stop_waits_for_a_producer_that_has_lost_its_lease(redis_server):
    client = redis_server.client()
    prefix = next(prefixes)
    log = RedisLog(redis_server.url, prefix=prefix)
    await log.create("g", "t", "", keep=60.0)
    (own,) = [key async for key in client.scan_iter(f"{{{prefix}:g}}:own")]
    await client.delete(own)
    assert await log.stop("g")
    assert 0 < await client.pttl(own) <= log.lease * 1000  # should it not come back
    assert not (await log.beat({"g": "t"}))["g"].held
    await log.attach("g", "t", "", keep=60.0)
    assert (await log.append("g", "t", 0, [b"x"])).stop
    await log.aclose()
    await client.aclose()


async def test_a_stop_is_not_left_to_a_later_generation_of_the_same_key(redis_server):
    client = redis_server.client()
    prefix = next(prefixes)
    log = RedisLog(redis_server.url, prefix=prefix)
    await log.create("g", "t", "", keep=60.0)
    keys = [key async for key in client.scan_iter(f"{{{prefix}:g}}:*")]
    (own,) = [key for key in keys if key.endswith(b"own")]
    await client.delete(own)
    assert await log.stop("g")
    await client.delete(*set(keys) - {own})
    await log.create("g", "u", "", keep=60.0)
    assert not (await log.append("g", "u", 0, [b"x"])).stop
    await log.aclose()
    await client.aclose()


# A Redis that is full


async def test_a_full_redis_that_evicts_nothing_can_be_followed(redis_server):
    client = redis_server.client()
    log = RedisLog(redis_server.url, prefix=next(prefixes), lease=30.0)
    await log.create("g", "t", "", keep=60.0)
    await log.append("g", "t", 0, [b"early"])
    await client.config_set("maxmemory", 1)
    batches = log.follow("g", "t", 0)
    try:
        async with asyncio.timeout(5):
            assert (await anext(batches)).events == [b"early"]
    finally:
        await client.config_set("maxmemory", 0)
    waiting = asyncio.create_task(anext(batches))
    await log.append("g", "t", 1, [b"late"])
    assert (await waiting).events == [b"late"]
    await batches.aclose()
    await log.aclose()
    await client.aclose()


async def test_a_full_redis_is_unavailable_and_says_that_it_is_full(redis_server):
    client = redis_server.client()
    log = RedisLog(redis_server.url, prefix=next(prefixes))
    await log.create("g", "t", "", keep=60.0)
    await client.config_set("maxmemory", 1)
    try:
        with pytest.raises(LogUnavailableError, match="maxmemory") as caught:
            await log.append("g", "t", 0, [b"x"])
    finally:
        await client.config_set("maxmemory", 0)
    assert isinstance(caught.value.__cause__, redis.ResponseError)
    await log.aclose()
    await client.aclose()


# What is out of reach, and what is refused


async def test_a_connection_that_has_been_idle_is_used_again_and_has_a_deadline_then():
    with RedisServer() as server:
        client = server.client()
        log = RedisLog(server.url, prefix="p", timeout=2.0)

        async def connections():
            listed = await client.client_list()
            return {each["id"] for each in listed if each["name"] == "sse_asgi"}

        await log.create("g", "t", "m", keep=60.0)
        assert (await log.look("g")).meta == "m"
        before = await connections()
        await asyncio.sleep(2.6)  # for longer than a deadline
        await log.append("g", "t", 0, [b"x"])
        assert (await log.look("g")).last == 1
        assert await connections() == before
        server.send(signal.SIGSTOP)
        with pytest.raises(LogUnavailableError, match="no answer within 2 s"):
            await log.look("g")
        server.send(signal.SIGCONT)
        assert (await log.look("g")).last == 1
        await log.aclose()
        await client.aclose()


async def test_a_push_connection_that_answers_no_ping_is_replaced(redis_server, caplog):
    prefix = next(prefixes)
    far = RedisLog(redis_server.url, prefix=prefix, lease=3.0)
    await far.create("g", "t", "", keep=60.0)
    async with Proxy(redis_server.port) as proxy:
        url = f"redis://127.0.0.1:{proxy.port}"
        near = RedisLog(url, prefix=prefix, lease=3.0, timeout=0.5)
        batches = near.follow("g", "t", 0)
        following = asyncio.create_task(anext(batches))
        async with asyncio.timeout(10):
            while not (await far.beat({"g": "t"}))["g"].followers:
                await asyncio.sleep(0.02)
            proxy.mute()
            while "no answer to a ping" not in caplog.text:
                await far.beat({"g": "t"})
                await asyncio.sleep(0.02)
            await far.append("g", "t", 0, [b"x"])
            assert (await following).events == [b"x"]
        await batches.aclose()
        await near.aclose()
    await far.aclose()


async def test_what_is_out_of_reach_says_why():
    log = RedisLog(f"redis://127.0.0.1:{free_port()}", prefix="p", timeout=0.3)
    with pytest.raises(LogUnavailableError, match="Error 111") as caught:
        await log.look("g")
    assert ".;" not in str(caught.value)
    assert isinstance(caught.value.__cause__, redis.ConnectionError)
    await log.aclose()


async def test_a_server_that_does_not_answer_says_so():
    async def silence(reader, writer):
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silence, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        log = RedisLog(f"redis://127.0.0.1:{port}", prefix="p", timeout=0.3)
        with pytest.raises(LogUnavailableError, match=r"no answer within 0\.3 s") as caught:
            await log.look("g")
        assert isinstance(caught.value.__cause__, TimeoutError)
        await log.aclose()


async def test_what_a_script_cannot_do_is_refused_and_others_go_on(redis_server):
    client = redis_server.client()
    prefix = next(prefixes)
    log = RedisLog(redis_server.url, prefix=prefix)
    for key in ("g", "h"):
        await log.create(key, "t", "", keep=60.0)
    (own,) = [key async for key in client.scan_iter(f"{{{prefix}:g}}:own")]
    await client.set(own, "of another type")
    appends = [log.append(key, "t", 0, [b"x"]) for key in ("g", "h")]
    refusal, ack = await asyncio.gather(*appends, return_exceptions=True)
    assert isinstance(refusal, LogRefusedError)
    assert "WRONGTYPE" in str(refusal)
    assert ack.tail == 1
    await log.aclose()
    await client.aclose()


# Times


async def test_what_is_kept_without_end_stays(redis_server):
    client = redis_server.client()
    live = Live(RedisLog(redis_server.url, prefix=next(prefixes)), keep=math.inf)
    generation = await live.start(["a"], id="kept")
    assert (await generation.transcript()).text == "a"
    (key,) = [key async for key in client.scan_iter("*kept}:log")]
    assert await client.ttl(key) > 50 * 365 * 86_400
    await live.aclose()
    await client.aclose()


async def test_the_dead_are_told_within_a_lease_and_some_seconds(redis_server):
    log = RedisLog(redis_server.url, prefix=next(prefixes), lease=1.0)
    await log.create("g", "t", "", keep=60.0)
    async with asyncio.timeout(10):
        async for batch in log.follow("g", "t", 0):
            assert batch.ending == Ending(INTERRUPTED)
    await log.aclose()


async def test_of_all_who_find_a_producer_dead_one_is_told(redis_server):
    prefix, told = next(prefixes), []
    logs = [RedisLog(redis_server.url, prefix=prefix, lease=0.6) for _ in range(3)]
    for log in logs:
        log.on_buried = lambda key, token: told.append((key, token))
    await logs[0].create("g", "t", "", keep=60.0)

    async def last(log):
        return [batch.ending async for batch in log.follow("g", "t", 0)][-1]

    async with asyncio.timeout(10):
        assert await asyncio.gather(*map(last, logs)) == [Ending(INTERRUPTED)] * 3
    assert told == [("g", "t")]
    for log in logs:
        assert (await log.read("g", "u", 0)).ending == Ending(LOST)
        assert (await log.read("g", "t", 0)).ending == Ending(INTERRUPTED)
        assert (await log.look("g")).ending == Ending(INTERRUPTED)
        await log.aclose()
    assert told == [("g", "t")]


async def test_a_shared_read_that_fails_when_its_readers_have_left_is_nobodys_error():
    said = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: said.append(context))
    log = RedisLog(f"redis://127.0.0.1:{free_port()}", prefix="p", timeout=0.3)
    reading = asyncio.create_task(log.read("g", "t", 0))
    await asyncio.sleep(0)
    (shared,) = log._opened._batches.values()
    reading.cancel()
    await asyncio.wait((reading, shared))
    del reading, shared
    gc.collect()
    assert said == []
    await log.aclose()


async def test_what_has_followed_is_freed_at_once(redis_server):
    log = RedisLog(redis_server.url, prefix=next(prefixes), lease=600.0)
    await log.create("g", "t", "", keep=60.0)
    await log.append("g", "t", 0, [b"x"])
    batches = log.follow("g", "t", 0)
    await anext(batches)
    follower = weakref.ref(batches.ag_frame.f_locals["self"])
    await batches.aclose()
    del batches
    await asyncio.sleep(0)
    assert follower() is None
    await log.aclose()


async def test_who_follows_a_silent_generation_does_not_poll(redis_server):
    client = redis_server.client()
    log = RedisLog(redis_server.url, prefix=next(prefixes), lease=60.0)
    await log.create("g", "t", "", keep=60.0)
    await log.append("g", "t", 0, [b"x"])
    batches = log.follow("g", "t", 0)
    await anext(batches)
    waiting = asyncio.create_task(anext(batches))

    async def calls():
        return (await client.info("commandstats"))["cmdstat_evalsha"]["calls"]

    await asyncio.sleep(0.5)  # the subscription may be confirmed after the first look
    before = await calls()
    await asyncio.sleep(2.5)
    assert await calls() == before
    waiting.cancel()
    await asyncio.wait([waiting])
    await log.aclose()
    await client.aclose()
