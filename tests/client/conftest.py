"""What the client's tests share: the HTTP libraries, and deadlines."""

import importlib

import anyio
import pytest

from tests.client.scripted import ScriptedServer
from tests.conftest import require

LIBRARIES = ["httpx", "httpx2"]


def import_library(name):
    require(name)
    return importlib.import_module(name)


@pytest.fixture(params=LIBRARIES)
def each_library(request):
    """Give each of the HTTP libraries."""
    return import_library(request.param)


@pytest.fixture
def library(anyio_backend):
    """Give one library with asyncio and the other with trio; a few tests want all four."""
    return import_library("httpx" if anyio_backend == "asyncio" else "httpx2")


@pytest.fixture
async def client(library):
    """Give a client, which the test's EventSource does not own."""
    async with library.AsyncClient(verify=False) as client:
        yield client
        assert not client.is_closed


@pytest.fixture
async def each_client(each_library):
    """Give a client of each library."""
    async with each_library.AsyncClient(verify=False) as client:
        yield client


@pytest.fixture
def quick_waits(monkeypatch):
    """Let waits be shorter than what is the least otherwise, so that tests need no time."""
    monkeypatch.setattr("sse_asgi.client.response.SHORTEST_WAIT", 0.001)


@pytest.fixture
def serve():
    """Start scripted servers; each is stopped after the test."""
    started = []

    def start(*answers):
        server = ScriptedServer(*answers)
        started.append(server)
        return server.__enter__()

    yield start
    for server in started:
        server.__exit__()


async def in_thread(function, *arguments):
    """Call what blocks without stopping the event loop."""
    return await anyio.to_thread.run_sync(function, *arguments)
