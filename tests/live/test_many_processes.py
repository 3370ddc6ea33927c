"""Live over Redis: hubs that share nothing but the server, each as a process would be."""

import asyncio
import itertools
import random

import pytest

from sse_asgi import JSONFraming, Outcome
from sse_asgi.live import RemoteSourceError, UnknownGenerationError
from sse_asgi.testing import connect
from tests.live.test_chaos import hubs
from tests.live.viewers import paced, until, watch, words

pytestmark = [pytest.mark.anyio, pytest.mark.matrix]


def endless():
    async def source():
        for number in itertools.count():
            yield f"{number} "
            await asyncio.sleep(0.002)

    return source


async def test_fifty_generations_with_three_viewers_each_that_come_and_go(redis_server):
    chunks = {f"g{number}": words(60, number) for number in range(50)}
    # Time enough for a busy machine: here nothing fails but the viewers' connections.
    async with hubs(redis_server.url, lease=30.0, timeout=10.0) as (here, there):
        starters = itertools.cycle((here, there))
        generations = [
            await next(starters).start(paced(text, 0.02), id=key) for key, text in chunks.items()
        ]
        rng = random.Random(1)
        seen = await asyncio.gather(
            *(
                watch(None, f"/{key}", drops=10, seed=f"{key}{viewer}",
                      pick=lambda: rng.choice((here, there)))
                for key in chunks for viewer in range(3)
            )
        )  # fmt: skip
        odd = [each for each in seen if (each.done, each.statuses[-1]) != (True, 204)]
        assert odd == []
        wanted = ["".join(text) for text in chunks.values()]
        assert [each.text for each in seen] == [text for text in wanted for _ in range(3)]
        # Each stays for 7 of the 61 events on average: no clock decides how often it reconnects.
        assert sum(each.connections for each in seen) > 1000
        transcripts = [await generation.transcript() for generation in generations]
        assert [transcript.text for transcript in transcripts] == wanted


async def test_of_twenty_starts_in_two_processes_one_runs(redis_server):
    calls = []

    def source():
        calls.append(1)
        return paced(words(30), 0.002)()

    async with hubs(redis_server.url) as (here, there):
        generations = await asyncio.gather(
            *(live.start(source, id="g") for live in [here, there] * 10)
        )
        transcripts = await asyncio.gather(*(each.transcript() for each in generations))
    assert len(calls) == 1
    assert [each.started for each in generations].count(True) == 1
    assert {each.text for each in transcripts} == {"".join(words(30))}
    assert {each.outcome for each in transcripts} == {Outcome.COMPLETED}
    assert {(each.chunks, each.sent_chunks) for each in transcripts} == {(30, 30)}


@pytest.mark.parametrize("silent", [True, False])
async def test_stop_reaches_the_process_that_runs_it(redis_server, silent):
    async def silence():
        yield "a"
        await asyncio.Event().wait()

    reports = []
    # A lease this long leaves only the push to carry the stop in time.
    async with hubs(redis_server.url, lease=600.0) as (here, there):
        generation = await here.start(silence if silent else endless(), on_complete=reports.append)
        path = f"/{generation.id}"
        watching = [asyncio.create_task(watch(live, path)) for live in (here, there)]
        await asyncio.sleep(0.3)
        async with connect(there, path, method="DELETE") as connection:
            assert connection.status == 204
        async with asyncio.timeout(3):
            transcript = await generation.transcript()
            seen = await asyncio.gather(*watching)
        assert transcript.outcome is Outcome.STOPPED
        assert {each.text for each in seen} == {transcript.text}
        assert all(each.done for each in seen)
        assert reports == [transcript]
        assert await there.stop(generation.id) is False
        assert await here.stop(generation.id) is False


async def test_a_lost_stop_arrives_with_the_next_beat(redis_server, monkeypatch):
    from sse_asgi.live.redis.follow import Follower

    monkeypatch.setattr(Follower, "hear", lambda follower, message: None)

    async def silence():
        yield "a"
        await asyncio.Event().wait()

    async with hubs(redis_server.url, lease=3.0) as (here, there):
        generation = await here.start(silence, id="g")
        await asyncio.sleep(0.1)
        assert await there.stop("g")
        async with asyncio.timeout(3):
            assert (await generation.transcript()).outcome is Outcome.STOPPED


async def test_a_transcript_is_read_back_in_another_process(redis_server):
    chunks = ["a", "[DONE]", "\r\n", "日本"]

    async def failing():
        yield "half"
        raise ValueError("secret")

    async with hubs(redis_server.url) as (here, there):
        mine = await here.start(chunks, id="g", framing=JSONFraming())
        theirs = await there.start(chunks, id="g", framing=JSONFraming())
        one, two = await mine.transcript(), await theirs.transcript()
        assert not theirs.started
        assert two.text == one.text == "".join(chunks)
        assert (two.outcome, two.chunks, two.duration) == (one.outcome, 4, one.duration)
        await (await here.start(failing, id="f")).transcript()
        failed = await (await there.start(failing, id="f")).transcript()
        assert (failed.text, failed.outcome) == ("half", Outcome.FAILED)
        assert isinstance(failed.error, RemoteSourceError)
        assert "secret" not in str(failed.error)


async def test_owners_are_kept_across_processes(redis_server):
    async with hubs(redis_server.url) as (here, there):
        await here.start(endless(), id="g", owner="ann")
        for method in ("GET", "DELETE"):
            async with connect(there, "/g", method=method) as connection:
                assert connection.status == 404
        with pytest.raises(UnknownGenerationError):
            await there.start(endless(), id="g", owner="bob")
        assert await there.stop("g", owner="bob") is False
        assert (await anext(there.follow("g", owner="ann"))).data == "0 "
        assert await there.stop("g", owner="ann") is True


async def test_linger_counts_the_viewers_of_every_process(redis_server):
    async with hubs(redis_server.url, lease=600.0) as (here, there):
        generation = await here.start(endless(), id="g", linger=0)
        async with connect(there, "/g") as far:
            await anext(far)
            await asyncio.sleep(0.2)
            async with connect(here, "/g") as near:
                await anext(near)
            await asyncio.sleep(0.2)
            assert not generation._ended.done()
            await anext(far)
        async with asyncio.timeout(3):
            assert (await generation.transcript()).outcome is Outcome.DISCONNECTED


async def test_linger_counts_a_viewer_elsewhere_that_leaves_at_once(redis_server):
    async with hubs(redis_server.url, lease=600.0) as (here, there):
        generation = await here.start(endless(), id="g", linger=0)
        async with connect(there, "/g") as far:
            await anext(far)
        async with asyncio.timeout(3):
            assert (await generation.transcript()).outcome is Outcome.DISCONNECTED


async def test_linger_counts_a_viewer_elsewhere_that_leaves_before_it_hears_anything(
    redis_server, monkeypatch
):
    monkeypatch.setattr("sse_asgi.live.viewer._STAY", 2.0)  # time for a busy machine to follow

    async def silent():
        await asyncio.Event().wait()
        yield "never"

    async with hubs(redis_server.url, lease=600.0) as (here, there):
        generation = await here.start(silent, id="g", linger=0)
        async with connect(there, "/g") as far:
            assert far.status == 200
        async with asyncio.timeout(15):  # and not the 30 s in which a first viewer may come
            assert (await generation.transcript()).outcome is Outcome.DISCONNECTED


async def test_a_viewer_behind_the_tail_is_told_when_nobody_brings_back_what_it_lacks(
    redis_server,
):
    chunks = ["x" * 500 + str(number) for number in range(4000)]
    async with hubs(redis_server.url, lease=1.0) as (here, there):
        generation = await here.start(chunks, id="g")
        async with connect(there, "/g") as slow:
            pieces = [await anext(slow)]
            assert (await watch(there, "/g")).done
            await generation.transcript()
            client = redis_server.client()
            await client.flushall()
            await client.aclose()
            async with asyncio.timeout(15):
                pieces += [event async for event in slow]
        *before, last = pieces
        assert (last.type, last.last_event_id) == ("error", before[-1].last_event_id)
        assert "".join(chunks).startswith("".join(event.data for event in before))


async def test_a_slow_viewer_reads_the_log_and_holds_up_nobody(redis_server):
    chunks = ["x" * 500 + str(number) for number in range(4000)]
    async with hubs(redis_server.url, lease=10.0) as (here, there):
        generation = await here.start(chunks, id="g")
        async with connect(there, "/g") as slow:
            pieces = [(await anext(slow)).data]
            fast = await watch(there, "/g")
            assert fast.text == "".join(chunks)
            (tail,) = there._generations.tails
            assert len(tail.events) < 1024
            pieces += [event.data async for event in slow]
        assert "".join(pieces) == "".join(chunks) + "[DONE]"
        assert (await generation.transcript()).sent_chunks == 4000


async def test_a_thousand_viewers_need_a_handful_of_connections(redis_server):
    client = redis_server.client()
    chunks = words(60)
    async with hubs(redis_server.url, lease=30.0) as (here, there):
        for number in range(20):
            await here.start(paced(chunks, 0.05), id=f"g{number}")
        # A 503 is no failure here: on a busy machine a thousand may wait for too long.
        watching = [
            asyncio.create_task(watch(there, f"/g{number % 20}", retries=50))
            for number in range(1000)
        ]
        await until(lambda: len(list(there._generations.tails)) == 20)
        names = [each["name"] for each in await client.client_list()]
        assert 0 < names.count("sse_asgi") <= 2 * 12  # of two processes
        for seen in await asyncio.gather(*watching):
            assert seen.text == "".join(chunks)
        await until(lambda: len(list(there._generations.tails)) == 0)
    assert "sse_asgi" not in [each["name"] for each in await client.client_list()]
    await client.aclose()


async def test_what_ended_is_forgotten_after_its_time_and_leaves_no_key(redis_server):
    client = redis_server.client()
    await client.flushall()
    async with hubs(redis_server.url, keep=1.0) as (here, there):
        await here.start(["a"], id="g")
        assert (await watch(there, "/g")).text == "a"
        async with asyncio.timeout(5):
            while await client.dbsize():
                await asyncio.sleep(0.05)
        assert (await watch(there, "/g")).statuses == [404]
    await client.aclose()


async def test_deployments_with_other_prefixes_see_nothing_of_each_other(redis_server):
    async with hubs(redis_server.url) as (here, _), hubs(redis_server.url) as (other, _):
        await here.start(endless(), id="g")
        assert (await watch(other, "/g")).statuses == [404]
        assert await other.stop("g") is False
        assert (await other.start(["mine"], id="g")).started
        assert (await watch(other, "/g")).text == "mine"
