"""Live in real servers, in processes that are killed, told to stop, or share the work."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from sse_asgi import EventStreamDecoder, Outcome, TextFraming
from sse_asgi.live import GenerationInterruptedError, Live
from sse_asgi.live.redis import RedisLog
from tests.live.redis_server import free_port
from tests.live.viewers import DEADLINE, Seen, note, until, words

pytestmark = [pytest.mark.anyio, pytest.mark.matrix]
ROOT = Path(__file__).resolve().parents[2]
LEASE = 2.0
keys = (f"k{number}" for number in itertools.count())


class Worker:
    """One uvicorn in a process of its own."""

    def __init__(self, server, report, *, drain=None, grace=None, patience=1):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        environment = {
            **os.environ, "LIVE_URL": server.url, "LIVE_LEASE": str(LEASE),
            "LIVE_REPORT": str(report), "PYTHONPATH": str(ROOT),
        }  # fmt: skip
        if drain is not None:
            environment["LIVE_DRAIN"] = str(drain)
        if grace is not None:
            environment["LIVE_GRACE"] = str(grace)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "tests.live.worker_app:app", "--port",
             str(self.port), "--log-level", "error", "--timeout-graceful-shutdown", str(patience)],
            cwd=ROOT, env=environment,
        )  # fmt: skip

    async def ready(self, client):
        async with asyncio.timeout(30):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    await client.get(f"{self.url}/none")
                    return self
                await asyncio.sleep(0.05)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


@pytest.fixture
async def client():
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=DEADLINE, limits=limits) as client:
        yield client


@pytest.fixture
async def workers(redis_server, tmp_path, client):
    """Start workers on demand, and end them with the test."""
    opened = []

    async def start(count, **options):
        new = [Worker(redis_server, tmp_path / "report", **options) for _ in range(count)]
        opened.extend(new)
        await asyncio.gather(*(worker.ready(client) for worker in new))
        return new

    yield start
    for worker in opened:
        worker.close()


def reports(tmp_path):
    file = tmp_path / "report"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


async def look_on(client, urls, key, *, drops=0, seed=0, seen=None):
    """Watch a generation over HTTP as an EventSource does, at any of the workers."""
    rng = random.Random(seed)
    seen = Seen() if seen is None else seen
    last, decode = "", TextFraming().decoder()
    async with asyncio.timeout(DEADLINE):
        while not (seen.done or seen.errors):
            seen.connections += 1
            stay = rng.randrange(0, 12) if seen.connections <= drops else None
            headers = {"last-event-id": last} if last else {}
            try:
                async with client.stream(
                    "GET", f"{rng.choice(urls)}/{key}", headers=headers
                ) as got:
                    assert got.status_code == 200
                    decoder = EventStreamDecoder(last_event_id=last)
                    async for data in got.aiter_raw():
                        for event in decoder.feed(data):
                            note(seen, event, decode)
                        last = decoder.last_event_id
                        stay = None if stay is None else stay - 1
                        if stay == 0:
                            break
            except httpx.TransportError:
                await asyncio.sleep(0.05)  # that worker is gone
    return seen


async def until_watched(*views):
    """Wait until each of these viewers is in the middle of it."""
    await until(lambda: all(len(seen.positions) >= 10 for seen in views))


async def test_viewers_of_two_workers_hold_the_same_texts(workers, client, tmp_path):
    urls = [worker.url for worker in await workers(2)]
    names = [next(keys) for _ in range(8)]
    calls = [
        client.post(f"{url}/start/{name}", params={"count": 80, "pause": 0.01})
        for name in names for url in urls * 2
    ]  # fmt: skip
    answers = [answer.json() for answer in await asyncio.gather(*calls)]
    assert [answer["started"] for answer in answers].count(True) == len(names)
    seen = await asyncio.gather(
        *(look_on(client, urls, name, drops=5, seed=f"{name}{n}") for name in names for n in (1, 2))
    )
    assert {each.text for each in seen} == {"".join(words(80))}
    assert [each["text"] for each in reports(tmp_path)] == ["".join(words(80))] * len(names)


async def test_stop_works_from_the_other_worker(workers, client, tmp_path):
    here, there = await workers(2)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 100_000, "pause": 0.01})
    views = [Seen(), Seen()]
    watching = [
        asyncio.create_task(look_on(client, [each.url], key, seen=seen))
        for each, seen in zip((here, there), views, strict=True)
    ]
    await until_watched(*views)
    began = time.monotonic()
    assert (await client.delete(f"{there.url}/{key}")).status_code == 204
    seen = await asyncio.gather(*watching)
    assert time.monotonic() - began < 5
    await until(lambda: reports(tmp_path))  # viewers may know of the end before `on_complete` does
    (report,) = reports(tmp_path)
    assert report["outcome"] == "stopped"
    assert {each.text for each in seen} == {report["text"]}
    assert (await client.delete(f"{there.url}/{key}")).status_code == 204
    assert (await client.delete(f"{there.url}/none")).status_code == 404


async def test_a_killed_producer_ends_as_an_error_within_its_lease(
    workers, client, tmp_path, redis_server
):
    here, there = await workers(2)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 100_000, "pause": 0.01})
    views = [Seen() for _ in range(3)]
    watching = [asyncio.create_task(look_on(client, [there.url], key, seen=seen)) for seen in views]
    await until_watched(*views)
    here.process.kill()
    killed = time.monotonic()
    seen = await asyncio.gather(*watching)
    assert time.monotonic() - killed < LEASE + 5
    assert [len(each.errors) for each in seen] == [1, 1, 1]
    (text,) = {each.text for each in seen}
    assert "".join(words(100_000)).startswith(text)
    assert text
    assert reports(tmp_path) == []  # a crash cannot report; the text is in the log
    live = Live(RedisLog(redis_server.url, prefix="worker", lease=LEASE))
    transcript = await (await live.start(["never"], id=key)).transcript()
    assert (transcript.text, transcript.outcome) == (text, Outcome.FAILED)
    assert isinstance(transcript.error, GenerationInterruptedError)
    await live.aclose()
    assert (await client.delete(f"{there.url}/{key}")).status_code == 204
    # A browser that comes back has heard it already.
    async with client.stream("GET", f"{there.url}/{key}") as got:
        decoder = EventStreamDecoder()
        async for data in got.aiter_raw():
            decoder.feed(data)
    again = await client.get(f"{there.url}/{key}", headers={"last-event-id": decoder.last_event_id})
    assert again.status_code == 204


async def test_one_of_those_who_watch_a_killed_producer_is_told(workers, client, redis_server):
    (here,) = await workers(1)
    key, told = next(keys), []

    def watcher():
        log = RedisLog(redis_server.url, prefix="worker", lease=LEASE)
        return Live(log, on_interrupted=lambda transcript, its: told.append((transcript, its.id)))

    async def follow(live, view):
        async for event in live.follow(key):
            view.positions.append(event)
        return view.positions

    await client.post(f"{here.url}/start/{key}", params={"count": 100_000, "pause": 0.01})
    lives, views = [watcher() for _ in "abc"], [Seen() for _ in "abc"]
    watching = [
        asyncio.create_task(follow(live, view)) for live, view in zip(lives, views, strict=True)
    ]
    await until_watched(*views)
    here.process.kill()
    seen = await asyncio.gather(*watching)
    assert [events[-1].type for events in seen] == ["error"] * 3
    await until(lambda: told)
    late = watcher()
    assert (await (await late.get(key)).transcript()).outcome is Outcome.FAILED
    for live in (*lives, late):
        await live.aclose()
    ((transcript, its),) = told
    assert its == key
    assert isinstance(transcript.error, GenerationInterruptedError)
    decode = TextFraming().decoder()
    assert transcript.text == "".join(decode(event) for event in seen[0][:-1])


async def test_a_paused_producer_is_buried_and_fenced(workers, client, tmp_path):
    here, there = await workers(2)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 100_000, "pause": 0.01})
    view = Seen()
    watching = asyncio.create_task(look_on(client, [there.url], key, seen=view))
    await until_watched(view)
    here.process.send_signal(signal.SIGSTOP)
    seen = await watching
    assert len(seen.errors) == 1
    here.process.send_signal(signal.SIGCONT)
    async with asyncio.timeout(20):
        while not reports(tmp_path):
            await asyncio.sleep(0.05)
    (report,) = reports(tmp_path)
    assert report["outcome"] == "failed"
    assert report["text"].startswith(seen.text)
    assert (await look_on(client, [here.url], key)).text == seen.text


async def test_told_to_stop_it_finishes_what_ends_in_time(workers, client, tmp_path):
    (here,) = await workers(1, drain=20)
    (there,) = await workers(1)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 400, "pause": 0.01})
    # This viewer loses its worker, and goes on at the other one.
    view, urls = Seen(), [here.url, there.url]
    watching = asyncio.create_task(look_on(client, urls, key, drops=3, seed=4, seen=view))
    await until_watched(view)
    assert reports(tmp_path) == []  # it is told to stop while the generation runs
    here.process.send_signal(signal.SIGTERM)
    seen = await watching
    assert seen.text == "".join(words(400))
    assert seen.errors == []
    await asyncio.to_thread(here.process.wait, 20)
    (report,) = reports(tmp_path)
    assert (report["text"], report["outcome"]) == (seen.text, "completed")


async def test_told_to_stop_a_real_server_waits_for_what_is_watched_there(
    workers, client, tmp_path
):
    """Nothing but `aclose` in the lifespan: no handler of a signal in the application."""
    (here,) = await workers(1, drain=5, grace=0.2, patience=60)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 300, "pause": 0.01})
    view = Seen()
    watching = asyncio.create_task(look_on(client, [here.url], key, seen=view))
    await until_watched(view)
    assert reports(tmp_path) == []
    here.process.send_signal(signal.SIGTERM)
    seen = await watching
    assert (seen.text, seen.connections) == ("".join(words(300)), 1)
    await asyncio.to_thread(here.process.wait, 20)
    (report,) = reports(tmp_path)
    assert (report["text"], report["outcome"]) == (seen.text, "completed")


async def test_told_to_stop_it_interrupts_what_does_not(workers, client, tmp_path):
    (here,) = await workers(1, drain=0.2)
    (there,) = await workers(1)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 100_000, "pause": 0.01})
    view = Seen()
    watching = asyncio.create_task(look_on(client, [there.url], key, seen=view))
    await until_watched(view)
    here.process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    seen = await watching
    assert time.monotonic() - told < 5
    assert len(seen.errors) == 1
    await asyncio.to_thread(here.process.wait, 20)
    (report,) = reports(tmp_path)
    assert (report["text"], report["outcome"]) == (seen.text, "shut_down")


async def test_without_aclose_a_server_told_to_stop_is_one_that_died(workers, client, tmp_path):
    here, there = await workers(2)
    key = next(keys)
    await client.post(f"{here.url}/start/{key}", params={"count": 100_000, "pause": 0.01})
    view = Seen()
    watching = asyncio.create_task(look_on(client, [there.url], key, seen=view))
    await until_watched(view)
    here.process.send_signal(signal.SIGTERM)
    seen = await watching
    assert len(seen.errors) == 1
    assert seen.text
    await asyncio.to_thread(here.process.wait, 20)
