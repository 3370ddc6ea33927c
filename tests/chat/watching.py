"""A model that waits, and clients that watch its answers while a test goes on; asyncio only."""

import asyncio

from tests.chat.asking import Client
from tests.live.viewers import until


class Model:
    """A generator that waits between its two halves until it is let go on."""

    def __init__(self):
        self.calls = 0
        self.go_on = asyncio.Event()
        self.told = []

    async def generate(self, chat):
        self.calls += 1
        yield "Hel"
        await self.go_on.wait()
        yield "lo"

    def complete(self, transcript, chat):
        self.told.append((transcript.text, transcript.outcome, chat.dialect))

    async def all_told(self):
        await until(lambda: self.told)
        return self.told


class Watching:
    """A client that watches while the test goes on."""

    def __init__(self, app, path, body=None, **options):
        self.client = Client(app, path, body, **options)
        self.task = asyncio.create_task(self.client.run())

    async def until(self, text):
        await until(lambda: text in b"".join(each.get("body", b"") for each in self.client.sent))

    async def leave(self):
        self.client.leaves.set()
        await self.task

    async def answer(self):
        async with asyncio.timeout(10):
            await self.task
        return self.client.answer
