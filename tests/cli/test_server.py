"""Where the commands listen, what they print, and how they end."""

import signal
import socket
import sys
import time

import pytest

from tests.cli import commands
from tests.servers import launch

pytestmark = pytest.mark.matrix

APP = """
import asyncio

async def endless():
    try:
        while True:
            yield "tick"
            await asyncio.sleep(0.01)
    finally:
        await asyncio.sleep(0.01)
        print("cleaned up", flush=True)

async def plain(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass

async def silent():
    await asyncio.sleep(3600)
    yield "never"

def hello():
    return ["hello"]
"""


@pytest.fixture
def directory(tmp_path):
    (tmp_path / "app.py").write_text(APP)
    return tmp_path


def test_prints_the_url_and_answers_there(directory):
    with commands.serving("serve", "app:hello", directory=directory) as running:
        assert f"Uvicorn running on {running.url} (Press CTRL+C to quit)" in running.log
        with running.open("/") as client:
            assert client.read_all() == b"data: hello\n\ndata: [DONE]\n\n"


def test_listens_on_the_port_that_was_asked_for(directory):
    running = launch(
        lambda port: [*commands.SSE_ASGI, "serve", "app:hello", "--port", str(port)],
        directory=directory,
        ready=lambda running: running.url in running.log,
    )
    try:
        with running.open("/") as client:
            assert client.read_status() == 200
    finally:
        running.stop()


def test_a_port_in_use_is_told(directory):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = commands.run("serve", "app:hello", "--port", str(port), directory=directory)
    assert result.returncode == 1
    assert f"('127.0.0.1', {port}): " in result.stderr
    assert "address already in use" in result.stderr
    assert "--port 0 takes a free one" in result.stderr


@pytest.mark.parametrize("opened", [None, "endless", "silent"])
def test_ctrl_c_ends_cleanly_also_while_a_stream_is_open(directory, opened):
    with commands.serving("serve", f"app:{opened or 'hello'}", directory=directory) as running:
        with running.open("/") as client:
            assert client.read_status() == 200
            if opened == "endless":
                client.read_until(b"tick")
            running.signal(signal.SIGINT)
            if opened:
                client.read_all(within=10)  # a clean end, not a cut
            assert running.process.wait(10) == 0
        assert running.noise() == []
        assert ("cleaned up" in running.log) == (opened == "endless")


SOONER = "from sse_asgi.cli import main, server; server._LONGEST_END = 1; raise SystemExit(main())"


def test_ctrl_c_ends_an_app_that_knows_nothing_of_it(directory):
    program = [sys.executable, "-c", SOONER]
    with (
        commands.serving("serve", "app:plain", directory=directory, program=program) as running,
        running.open("/") as client,
    ):
        client.read_until(b"x")
        begun = time.monotonic()
        running.signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        assert time.monotonic() - begun > 0.9  # it had its time
