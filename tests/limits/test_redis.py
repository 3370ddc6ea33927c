"""Admission over processes, on a real Redis: exact, and free again when a process dies."""

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack

import anyio
import httpx
import pytest
from redis.asyncio import Redis

from sse_asgi import EventStream
from sse_asgi.limits import redis as redis_limits
from sse_asgi.limits.redis import RedisLimits
from tests.limits.visits import House, Visit, key_of
from tests.live.redis_server import RedisServer, free_port
from tests.report import wait_for
from tests.servers import ROOT


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def server():
    with RedisServer() as server:
        yield server


@pytest.fixture
def prefix():
    return f"test-{random.getrandbits(40):x}"


async def count(server, prefix, key="total"):
    async with server.client() as client:
        return await client.zcard(f"{{{prefix}}}:{key}")


async def until_count(server, prefix, expected):
    async with asyncio.timeout(10):
        while await count(server, prefix) != expected:
            await asyncio.sleep(0.01)


@pytest.mark.anyio
async def test_processes_share_the_bounds(server, prefix):
    house = House()
    apps = [
        EventStream(
            house.source, limits=RedisLimits(server.url, prefix=prefix, total=3, per=key_of, each=2)
        )
        for _ in range(2)
    ]
    visits = [Visit(app, "ann").start() for app in apps]
    assert [await visit.begun() for visit in visits] == [200, 200]
    third = Visit(apps[0], "ann").start()
    assert await third.begun() == 429
    assert b"You have as many" in third.body
    assert int(third.headers["retry-after"]) >= 1
    other = Visit(apps[1], "bob").start()
    assert await other.begun() == 200
    full = Visit(apps[0], "cid").start()
    assert await full.begun() == 429
    assert b"The server has as many" in full.body
    for visit in (*visits, other):
        await visit.end()
    await until_count(server, prefix, 0)
    again = Visit(apps[0], "ann").start()
    assert await again.begun() == 200
    await again.end()
    assert house.called == 4


@pytest.mark.anyio
async def test_a_cancellation_anywhere_takes_no_place(server, prefix):
    house = House()
    apps = [
        EventStream(house.source, limits=RedisLimits(server.url, prefix=prefix, total=3))
        for _ in range(2)
    ]
    warm = Visit(apps[0]).start()
    assert await warm.begun() == 200
    await warm.end()
    chance = random.Random(7)

    async def cancelled(app, turns):
        visit = Visit(app).start()
        for _ in range(turns):
            await asyncio.sleep(0)
        visit.task.cancel()
        await visit.ended()

    for _ in range(10):
        turns = [chance.randrange(60) for _ in range(16)]
        await asyncio.gather(*(cancelled(apps[n % 2], each) for n, each in enumerate(turns)))
        assert house.most <= 3
    await until_count(server, prefix, 0)
    assert [limits._places._open for limits in (app._layers[0] for app in apps)] == [0, 0]


@pytest.mark.anyio
async def test_a_place_is_kept_for_longer_than_its_lease(server, prefix):
    limits = RedisLimits(server.url, prefix=prefix, total=1, lease=1.0)
    visit = Visit(EventStream(House().source, limits=limits)).start()
    assert await visit.begun() == 200
    async with server.client() as client:
        first = await client.zrange(f"{{{prefix}}}:total", 0, -1, withscores=True)
        async with asyncio.timeout(10):
            while await client.zrange(f"{{{prefix}}}:total", 0, -1, withscores=True) == first:
                await asyncio.sleep(0.05)
        assert await client.pttl(f"{{{prefix}}}:total") > 500
    await visit.end()


@pytest.mark.anyio
async def test_redis_holds_no_key_of_a_user(server, prefix):
    limits = RedisLimits(server.url, prefix=prefix, per=lambda request: "sk-secret", each=1)
    visit = Visit(EventStream(House().source, limits=limits)).start()
    assert await visit.begun() == 200
    async with server.client() as client:
        names = [name async for name in client.scan_iter(f"*{prefix}*")]
        assert len(names) == 2
        assert not any(b"secret" in name for name in names)
    await visit.end()


@pytest.mark.anyio
async def test_a_tuple_is_a_key(server, prefix):
    keys = iter([("ann", 1), ("ann", 2), ("ann", 1)])
    limits = RedisLimits(server.url, prefix=prefix, per=lambda request: next(keys), each=1)
    app = EventStream(House().source, limits=limits)
    visits = [Visit(app).start() for _ in range(2)]
    assert [await visit.begun() for visit in visits] == [200, 200]
    assert await Visit(app).start().begun() == 429
    for visit in visits:
        await visit.end()


@pytest.mark.anyio
async def test_a_key_that_other_processes_would_not_know_again_is_an_error(server, prefix):
    limits = RedisLimits(server.url, prefix=prefix, per=lambda request: ("ann", object()), each=1)
    with pytest.raises(TypeError, match="object"):
        await Visit(EventStream(House().source, limits=limits)).run()
    assert await count(server, prefix) == 0


def test_trio_is_told_of_the_limits_that_it_can_have():
    limits = RedisLimits("redis://127.0.0.1:1", prefix="trio", total=1)
    with pytest.raises(RuntimeError, match="needs asyncio; under trio use Limits"):
        anyio.run(lambda: Visit(EventStream(["a"], limits=limits)).run(), backend="trio")


@pytest.mark.anyio
async def test_a_client_of_the_users_is_used_and_left_open(server, prefix):
    async with Redis.from_url(server.url, decode_responses=True) as client:
        limits = RedisLimits(client, prefix=prefix, total=1)
        app = EventStream(House().source, limits=limits)
        first, second = Visit(app).start(), Visit(app)
        assert await first.begun() == 200
        assert await second.start().begun() == 429
        other = EventStream(House().source, limits=RedisLimits(client, prefix=prefix, total=1))
        assert await Visit(other).start().begun() == 429
        await first.end()
        await until_count(server, prefix, 0)
        assert await client.ping()


@pytest.mark.anyio
async def test_without_redis_each_process_counts_alone_and_says_so_once(caplog, monkeypatch):
    monkeypatch.setattr(redis_limits, "OUTAGE", 0.2)
    with RedisServer() as server:
        limits = RedisLimits(server.url, prefix="outage", total=2, lease=1.0)
        app = EventStream(House().source, limits=limits)
        server.kill()
        visits = [Visit(app).start() for _ in range(2)]
        assert [await visit.begun() for visit in visits] == [200, 200]
        assert await Visit(app).start().begun() == 429
        said = [record for record in caplog.records if "in this process alone" in record.message]
        assert len(said) == 1
        asks_again = limits._asks_again
        async with asyncio.timeout(10):
            while limits._asks_again == asks_again:  # until a renewal has failed, too
                await asyncio.sleep(0.01)
        assert len(caplog.records) == 1
        server.start()
        await until_count(server, "outage", 2)  # the next renewal has told it
        for visit in visits:
            await visit.end()
        await until_count(server, "outage", 0)


@pytest.mark.matrix
@pytest.mark.anyio
async def test_a_redis_that_does_not_answer_costs_a_second_once(monkeypatch):
    monkeypatch.setattr("sse_asgi.limits.leases.TIMEOUT", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it never says a word
        url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        app = EventStream(House().source, limits=RedisLimits(url, prefix="silent", total=2))
        first = Visit(app).start()
        assert await first.begun() == 200
        began = time.monotonic()
        second = Visit(app).start()
        assert await second.begun() == 200
        assert time.monotonic() - began < 1.5
        for visit in (first, second):
            await visit.end()


@pytest.mark.anyio
async def test_a_key_that_other_processes_would_not_know_is_refused(server, prefix):
    limits = RedisLimits(server.url, prefix=prefix, per=lambda request: object(), each=1)
    with pytest.raises(TypeError, match="a str, bytes, an int or a tuple"):
        await Visit(EventStream(House().source, limits=limits)).run()
    assert limits._places._open == 0


@pytest.mark.parametrize(
    ("redis", "options", "error", "said"),
    [
        (5, {}, TypeError, "redis must be a URL or a redis.asyncio.Redis"),
        ("localhost", {}, ValueError, "redis must begin with redis://"),
        ("redis://h/0", {"prefix": ""}, ValueError, "prefix must be a word without braces"),
        ("redis://h/0", {"prefix": 1}, TypeError, "prefix must be a str, not 1"),
        ("redis://h/0", {"lease": 0.5}, ValueError, "lease must be 1 or more seconds, not 0.5"),
        ("redis://h/0", {"lease": "30"}, TypeError, "lease must be a number of seconds"),
        ("redis://h/0", {"total": None}, ValueError, "give total, or per and each"),
    ],
)
def test_wrong_values_raise_at_once(redis, options, error, said):
    with pytest.raises(error, match=said):
        RedisLimits(redis, **{"prefix": "p", "total": 1} | options)


def test_a_password_in_a_wrong_url_is_not_shown():
    with pytest.raises(ValueError) as caught:
        RedisLimits("http://user:secret@host", prefix="p", total=1)
    assert "secret" not in str(caught.value)


@pytest.mark.matrix
def test_two_real_servers_share_places_and_the_death_of_one_frees_its_own(server, tmp_path):
    with Uvicorn(server.url) as one, Uvicorn(server.url) as two, ExitStack() as open_:
        answers = [open_.enter_context(process.get()) for process in (one, one, two)]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        for process in (one, two):
            with process.get() as refused:
                assert refused.status_code == 429
                assert int(refused.headers["retry-after"]) >= 1
        one.process.send_signal(signal.SIGKILL)
        one.process.wait()
        wait_for(two.has_place, within=10, what="the places of the dead process are free")


class Uvicorn:
    def __init__(self, url):
        self.port = free_port()
        command = [sys.executable, "-m", "uvicorn", "tests.limits.redis_app:app"]
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port), "--log-level", "error"],
            cwd=ROOT,
            env={**os.environ, "REDIS_URL": url, "PYTHONPATH": str(ROOT)},
        )
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=10)

    def get(self):
        return self.client.stream("GET", "/")

    def has_place(self):
        with self.get() as answer:
            return answer.status_code == 200

    def __enter__(self):
        wait_for(self.answers, within=20, what="uvicorn answers")
        return self

    def answers(self):
        try:
            return self.client.head("/").status_code == 200
        except httpx.TransportError:
            return False

    def __exit__(self, *exc_info):
        self.client.close()
        self.process.kill()
        self.process.wait()
