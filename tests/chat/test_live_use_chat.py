"""AI SDK's `useChat({resume: true})` in Chromium: reloads, and a restart of another worker."""

import asyncio
import contextlib
import threading

import pytest

from tests.chat import node_clients
from tests.chat.live_apps import TEXT
from tests.live.redis_server import RedisServer
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

SHOWN = "seen.parts.map(part => part.text ?? '').join('')"


class Front:
    """Passes connections on to one of several servers, as a load balancer does."""

    def __init__(self):
        self.target = 0
        self.port = 0
        self._open = set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *exc_info):
        self._loop.call_soon_threadsafe(self._done.set)
        self._thread.join()

    async def _run(self):
        self._loop, self._done = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._done.wait()
        server.close()
        for writer in self._open:
            writer.close()
        while self._open:
            await asyncio.sleep(0.01)

    def send_to(self, port):
        """Cut what is open, and send what comes to another server."""
        self.target = port
        self._loop.call_soon_threadsafe(lambda: [each.close() for each in self._open])

    async def _serve(self, reader, writer):
        with contextlib.suppress(OSError):
            there, out = await asyncio.open_connection("127.0.0.1", self.target)
            self._open |= {writer, out}
            await asyncio.gather(self._pump(reader, out), self._pump(there, writer))
            for each in (writer, out):
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            self._open -= {writer, out}

    async def _pump(self, reader, writer):
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()


@pytest.mark.parametrize("version", ["5", "6", "7"])
def test_an_answer_survives_reloads_and_a_restart(chromium, tmp_path, version):
    node_clients.bundle(version, tmp_path)

    def worker():
        return serve(
            SERVERS["uvicorn-httptools"],
            directory=tmp_path,
            app="tests.chat.live_apps:app",
            environment={
                "LIVE_URL": redis.url,
                "LIVE_PAUSE": "0.2",
                "SSE_TEST_PAGES": str(tmp_path),
            },
        )

    with RedisServer() as redis, Front() as front, worker() as here:
        page = chromium.new_context().new_page()

        def show():
            page.goto(f"http://127.0.0.1:{front.port}/page?{version}&resume")
            page.wait_for_function("window.seen")

        front.send_to(here.port)
        show()
        page.evaluate("() => { window.ask('Hi') }")
        page.wait_for_function(f"{SHOWN}.length > 20", timeout=20_000)
        with worker() as there:
            front.send_to(there.port)
            show()
            page.wait_for_function(f"{SHOWN}.length > 40", timeout=20_000)
        with worker() as there:  # another process, that knows nothing of it
            front.send_to(there.port)
            show()
            page.wait_for_function("seen.finished", timeout=30_000)
            assert page.evaluate(SHOWN) == TEXT
            assert page.evaluate("[seen.status, seen.error, seen.answers]") == ["ready", None, 1]
            assert there.report.notes("chat", "call") == []
        page.context.close()
        assert len(here.report.notes("chat", "call")) == 1
        assert [note["text"] for note in here.report.notes("chat", "complete")] == [TEXT]
