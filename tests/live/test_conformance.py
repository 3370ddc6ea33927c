"""Every log keeps the word that `Log` gives."""

import itertools

import pytest

from sse_asgi.live import conformance
from sse_asgi.live.memory import MemoryLog
from sse_asgi.live.redis import RedisLog

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
