"""A TCP proxy in front of a real server, that loses what a test tells it to lose."""

import asyncio
import contextlib


class Proxy:
    """Passes bytes both ways. `swallow` replies: the server works, the client never hears of it.

    `mute`, and what is open now stays so, but no reply comes over it any more.
    """

    def __init__(self, port):
        self.target = port
        self.port = 0
        self.swallow = 0
        self.swallowed = 0
        self.connections = 0
        self._server = None
        self._tasks = set()
        self._open = set()
        self._muted = set()

    def mute(self):
        self._muted = set(self._open)

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *exc_info):
        self._server.close()
        if self._tasks:  # they end when the clients, closed before, have gone
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        self._open.add(writer)
        out = None
        pumps = []
        try:
            there, out = await asyncio.open_connection("127.0.0.1", self.target)
            pumps = [
                asyncio.create_task(self._pump(reader, out)),
                asyncio.create_task(self._replies(there, writer)),
            ]
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            for stream in (out, writer):
                if stream is not None:
                    stream.close()
                    with contextlib.suppress(OSError):
                        await stream.wait_closed()
            self._tasks.discard(task)
            self._open.discard(writer)

    async def _pump(self, reader, writer):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def _replies(self, reader, writer):
        while data := await reader.read(65536):
            if writer in self._muted:
                continue
            # An integer is what an append is answered, and nothing else while a generation runs.
            if self.swallow and data.startswith(b":"):
                self.swallow -= 1
                self.swallowed += 1
                return  # the connection breaks
            writer.write(data)
            await writer.drain()
