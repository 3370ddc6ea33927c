"""Live runs on asyncio: its producers outlive requests, so they are plain tasks."""

import gc

import pytest

from tests.live.redis_server import RedisServer


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture(scope="module")
def redis_server():
    with RedisServer() as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_is_left_over():
    """What a test leaves open shows in that test, not in a later one."""
    yield
    gc.collect()
