"""Every log keeps the word that `Log` gives."""

import asyncio
import itertools

import pytest
import redis
from redis.asyncio import RedisCluster

from sse_asgi.live import LogRefusedError
from sse_asgi.live.memory import MemoryLog
from sse_asgi.live.redis import RedisLog
from tests.live import conformance
from tests.live.conformance import living, storing

checks = pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
prefixes = (f"test-{number}" for number in itertools.count())


@pytest.mark.anyio
@checks
async def test_memory_log_conforms(check):
    log = MemoryLog()
    await check(lambda: log)


@pytest.mark.anyio
@checks
async def test_redis_log_conforms(check, redis_server):
    prefix = next(prefixes)
    await check(lambda: RedisLog(redis_server.url, prefix=prefix, lease=1.0))


@pytest.mark.anyio
async def test_a_redis_url_may_name_a_socket_a_password_and_a_database(redis_server):
    client = redis_server.client()
    await client.acl_setuser("live", enabled=True, passwords=["+secret"], keys=["*"],
                             channels=["*"], commands=["+@all"])  # fmt: skip
    url = f"unix://live:secret@{redis_server.socket}?db=3"
    for check in (storing.replays_what_it_stored, living.wakes_followers):
        prefix = next(prefixes)
        await check(lambda prefix=prefix: RedisLog(url, prefix=prefix, lease=1.0))
        assert [key async for key in client.scan_iter(f"*{{{prefix}:*")] == []  # not in database 0
    await client.aclose()
    wrong = RedisLog(url.replace("secret", "wrong"), prefix="wrong", timeout=60)
    async with asyncio.timeout(10):  # what cannot mend itself is not tried again
        with pytest.raises(LogRefusedError, match="username-password") as caught:
            await wrong.look("g")
    assert isinstance(caught.value.__cause__, redis.RedisError)
    await wrong.aclose()


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        (redis.Redis(), TypeError, "a redis.asyncio.Redis or a RedisCluster, not of type redis.cl"),
        (None, TypeError, "url_or_client must be a str, .* not of type builtins.NoneType; pass"),
        ("http://:secret@host", ValueError, "rediss:// or unix://, not 'http'; pass"),
        ("me:secret@host:6379", ValueError, "rediss:// or unix://; pass"),
        ("redis://:secret@host?protocol=3", ValueError, "url must not set 'protocol'"),
        ("redis://:secret@host?db=1&socket_timeout=5", ValueError, "'socket_timeout'.* pass a"),
        ("redis://:secret@host?decode_responses=", ValueError, "'decode_responses'"),
        ("rediss://:secret@host?ssl_check_hostname=no&timeout=1", ValueError, "'timeout'"),
    ],
)
def test_what_is_no_redis_url_is_refused_at_once(url, error, words):
    with pytest.raises(error, match=words) as caught:
        RedisLog(url, prefix="none")
    assert "secret" not in str(caught.value)


@pytest.mark.anyio
async def test_a_cluster_with_a_redis_py_that_is_too_old_is_refused_at_once(monkeypatch):
    cluster = RedisCluster(host="127.0.0.1")  # which connects to nothing yet
    RedisLog(cluster, prefix="none")
    monkeypatch.setattr(redis, "VERSION", (6, 3, 0))
    monkeypatch.setattr(redis, "__version__", "6.3.0")
    with pytest.raises(
        ImportError, match=r"6\.4 or later .* is 6\.3\.0: pip install 'redis>=6\.4'"
    ):
        RedisLog(cluster, prefix="none")
    RedisLog(redis.asyncio.Redis(), prefix="none")
