"""Live over the Redis that people have: a cluster, sentinels, TLS, a user with few rights."""

import asyncio
import itertools
import pathlib
import shlex

import pytest
import redis

from sse_asgi import Outcome
from sse_asgi.live import Live, LogRefusedError, LogUnavailableError
from sse_asgi.live.redis import RedisLog
from tests.live.conformance import living, storing
from tests.live.redis_parts import (
    PROGRAMS,
    Cluster,
    Watched,
    hubs,
    plain_client,
    write_certificates,
)
from tests.live.redis_server import RedisServer, free_port
from tests.live.viewers import paced, watch, words

pytestmark = [pytest.mark.anyio, pytest.mark.matrix]
prefixes = (f"parts-{number}" for number in itertools.count())
HOW_TO = pathlib.Path(__file__).parents[2] / "docs" / "how-to" / "redis.md"


def acl_users():
    """Return the users of the how-to, each as the words of its ACL SETUSER."""
    lines = HOW_TO.read_text().replace("\\\n", " ").splitlines()
    return [shlex.split(line) for line in lines if line.startswith("ACL SETUSER")]


@pytest.fixture(scope="module")
async def cluster():
    cluster = Cluster()
    try:
        await cluster.start()
        yield cluster
    finally:
        cluster.close()


async def main_path(here, there, name="g"):
    """Start, follow here and there, see what ended, stop what is silent, learn of none."""
    chunks = words(60)
    generation = await here.start(paced(chunks), id=name)
    seen = await asyncio.gather(*(watch(live, f"/{name}") for live in (here, there, there)))
    assert [each.text for each in seen] == ["".join(chunks)] * 3
    assert (await generation.transcript()).outcome is Outcome.COMPLETED
    assert (await watch(there, f"/{name}")).text == "".join(chunks)

    async def silent():
        yield "a"
        await asyncio.Event().wait()

    stopped = await here.start(silent, id=f"{name}-stopped")
    assert await there.stop(f"{name}-stopped")
    async with asyncio.timeout(5):
        assert (await stopped.transcript()).outcome is Outcome.STOPPED
    lingering = await here.start(silent, id=f"{name}-left", linger=0)
    async with asyncio.timeout(10):
        assert (await anext(there.follow(f"{name}-left"))).data == "a"
        assert (await lingering.transcript()).outcome is Outcome.DISCONNECTED
    assert await there.stop("none") is False
    await here._generations.log.label(f"{name}-label", name, keep=60.0)
    assert await there._generations.log.labelled(f"{name}-label") == name
    assert await there._generations.log.labelled("none") is None


# Versions


@pytest.mark.parametrize("version", PROGRAMS)
async def test_the_main_path_on_every_server_that_there_is(version):
    with RedisServer(PROGRAMS[version]()) as server:
        async with hubs(lambda: server.url, prefix=next(prefixes), lease=1.0) as (here, there):
            await main_path(here, there)
        for check in (storing.fences_strangers, living.buries_the_dead, living.counts_followers):
            prefix = next(prefixes)
            await check(lambda prefix=prefix: RedisLog(server.url, prefix=prefix, lease=1.0))


# The application's own client


@pytest.mark.parametrize("options", [{}, {"decode_responses": True}, {"protocol": 3}], ids=str)
async def test_a_client_of_the_application_is_used_as_it_is_and_left_open(redis_server, options):
    client = plain_client(redis_server, client_name="mine", **options)
    log = RedisLog(client, prefix=next(prefixes), lease=1.0)
    async with hubs(lambda: plain_client(redis_server, **options), prefix=next(prefixes),
                    lease=1.0) as (here, there):  # fmt: skip
        await main_path(here, there)
    assert await log.create("g", "t", "", keep=60.0)
    await log.aclose()
    assert await client.ping()
    assert "mine" in [each["name"] for each in await client.client_list()]
    await client.aclose()


async def test_one_server_of_a_cluster_says_what_to_pass(cluster):
    log = RedisLog(cluster.servers[0].url, prefix="p", timeout=0.5)
    with pytest.raises(LogRefusedError, match="give RedisLog a RedisCluster"):
        for number in range(20):
            await log.create(f"g{number}", "t", "", keep=1.0)
    await log.aclose()


# A cluster. The last test of these leaves it with a master less.


async def test_the_main_path_in_a_cluster(cluster):
    async with hubs(cluster.client, prefix=next(prefixes), lease=2.0) as (here, there):
        await asyncio.gather(*(main_path(here, there, f"g{number}") for number in range(6)))


@pytest.mark.parametrize(
    "check",
    [
        storing.appends_together,
        storing.fences_strangers,
        living.wakes_followers,
        living.counts_followers,
        living.buries_the_dead,
    ],
    ids=lambda check: check.__name__,
)
async def test_redis_log_in_a_cluster_conforms(check, cluster):
    clients = []
    prefix = next(prefixes)

    def open_log():
        clients.append(cluster.client())
        return RedisLog(clients[-1], prefix=prefix, lease=1.0)

    try:
        await check(open_log)
    finally:
        for client in clients:
            await client.aclose()


async def test_a_slot_that_moves_loses_nothing(cluster):
    chunks = words(300)
    prefix = next(prefixes)
    async with hubs(cluster.client, prefix=prefix) as (here, there):
        generation = await here.start(paced(chunks), id="g")
        watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there, there)]
        await asyncio.sleep(0.3)
        await cluster.move_slot(f"{{{prefix}:g}}:log")
        for seen in [*await asyncio.gather(*watching), await watch(there, "/g")]:
            assert seen.text == "".join(chunks)
            assert seen.done
            assert seen.errors == []
        assert (await generation.transcript()).outcome is Outcome.COMPLETED


async def test_a_master_that_is_killed_interrupts_nothing(cluster):
    chunks = {f"g{number}": words(600, number) for number in range(12)}
    prefix = next(prefixes)
    async with hubs(cluster.client, prefix=prefix, lease=20.0) as (here, there):
        generations = [await here.start(paced(text), id=key) for key, text in chunks.items()]
        watching = [
            asyncio.create_task(watch(live, f"/{key}", retries=100))
            for key in chunks for live in (here, there)
        ]  # fmt: skip
        await asyncio.sleep(0.3)
        cluster.masters[2].kill()
        seen = await asyncio.gather(*watching)
        assert [each.text for each in seen] == [
            "".join(text) for text in chunks.values() for _ in range(2)
        ]
        assert all(each.done and not each.errors for each in seen)
        for generation in generations:
            assert (await generation.transcript()).outcome is Outcome.COMPLETED


# Sentinel


async def test_a_failover_by_sentinel_interrupts_nothing():
    chunks = words(500)
    parts = Watched()
    try:
        await parts.start()
        async with hubs(parts.client, prefix="p", lease=20.0) as (here, there):
            generation = await here.start(paced(chunks), id="g")
            await here._generations.log.label("chat", "g", keep=60.0)
            watching = [asyncio.create_task(watch(live, "/g")) for live in (here, there, there)]
            await asyncio.sleep(0.3)
            client = parts.master.client()
            assert await client.wait(1, 20_000)  # nobody brings a label back
            await client.aclose()
            parts.master.kill()
            for seen in await asyncio.gather(*watching):
                assert seen.text == "".join(chunks)
                assert seen.done
                assert seen.errors == []
            assert (await generation.transcript()).outcome is Outcome.COMPLETED
            assert await there._generations.log.labelled("chat") == "g"
            client = parts.replica.client()
            assert (await client.execute_command("ROLE"))[0] == b"master"
            await client.aclose()
    finally:
        await parts.aclose()


# TLS and rights


async def test_tls_with_an_authority_of_ones_own(tmp_path):
    paths = write_certificates(tmp_path)
    port = free_port()
    options = ("--tls-port", str(port), "--tls-cert-file", paths["cert"],
               "--tls-key-file", paths["key"], "--tls-ca-cert-file", paths["ca"],
               "--tls-auth-clients", "no")  # fmt: skip
    with RedisServer(None, *options):
        url = f"rediss://127.0.0.1:{port}/0"
        trusting = f"{url}?ssl_ca_certs={paths['ca']}"
        async with hubs(lambda: trusting, prefix="p", lease=1.0) as (here, there):
            await main_path(here, there)
        live = Live(RedisLog(url, prefix="p", timeout=0.3))
        with pytest.raises(LogUnavailableError, match="certificate verify failed"):
            await live.start(["a"])
        await live.aclose()


async def test_the_user_of_the_how_to_may_do_what_is_needed_and_no_more(redis_server):
    user = acl_users()[0]
    client = redis_server.client()
    await client.execute_command(*user)
    password = next(word for word in user if word.startswith(">"))[1:]
    prefix = next(word for word in user if word.startswith("~"))[2:-2]
    url = redis_server.url.replace("//", f"//{user[2]}:{password}@")
    try:
        async with hubs(lambda: url, prefix=prefix, lease=1.0) as (here, there):
            await main_path(here, there)
        # Each right is needed: without it the main path, or what a new connection does, fails.
        commands = [word[1:] for word in user if word.startswith("+")]
        log = await client.acl_log()
        assert log == [], log
        for check in (living.buries_the_dead, storing.begins_anew_when_nothing_is_left):
            await client.flushall()
            await check(lambda: RedisLog(url, prefix=prefix, lease=1.0))
        assert len(commands) == len(set(commands))
        other = RedisLog(url, prefix="other", lease=1.0)
        with pytest.raises(LogRefusedError, match="rights") as caught:
            await other.create("g", "t", "", keep=60.0)
        assert isinstance(caught.value.__cause__, redis.exceptions.NoPermissionError)
        await other.aclose()
    finally:
        await client.acl_deluser(user[2])
        await client.aclose()


async def test_the_user_of_the_how_to_for_a_cluster_suffices(cluster):
    user = acl_users()[1]
    password = next(word for word in user if word.startswith(">"))[1:]
    prefix = next(word for word in user if word.startswith("~"))[2:-2]
    for server in cluster.servers:
        if server.process is not None:
            client = server.client()
            await client.execute_command(*user)
            await client.aclose()
    make = lambda: cluster.client(username=user[2], password=password)  # noqa: E731
    async with hubs(make, prefix=prefix, lease=2.0) as (here, there):
        await asyncio.gather(*(main_path(here, there, f"acl{number}") for number in range(4)))
