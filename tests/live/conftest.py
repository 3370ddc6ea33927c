"""Live runs on asyncio: its producers outlive requests, so they are plain tasks."""

import gc
from types import SimpleNamespace

import pytest

from sse_asgi.live import Live
from tests.live.redis_server import RedisServer


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def live():
    live = Live()
    yield live
    await live.aclose(drain=0)


@pytest.fixture
def clock():
    """Return what stands for the module `time`: a clock that only the test moves."""
    clock = SimpleNamespace(now=100.0)
    clock.monotonic = lambda: clock.now
    return clock


@pytest.fixture(scope="module")
def redis_server():
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left_over():
    """What a test leaves open shows in that test, not in a later one."""
    yield
    gc.collect()
