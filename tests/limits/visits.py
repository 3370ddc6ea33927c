"""Visits to an app whose streams are bounded: raw ASGI, each step of it awaited."""

import asyncio

import anyio


class Visit:
    """One request, and what became of it."""

    def __init__(self, app, key="nobody", *, path="/", method="GET"):
        self.app = app
        self.sent = []
        self.began = anyio.Event()  # the response
        self.leaves = anyio.Event()
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(b"x-key", key.encode())],
        }

    async def receive(self):
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        self.began.set()

    async def run(self):
        await self.app(self.scope, self.receive, self.send)

    @property
    def status(self):
        return self.sent[0]["status"]

    @property
    def headers(self):
        return {name.decode(): value.decode() for name, value in self.sent[0]["headers"]}

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.sent[1:])

    def start(self):
        """Run it beside the test; asyncio only."""
        self.task = asyncio.create_task(self.run())
        return self

    async def begun(self):
        """Wait until it has begun, and return the status."""
        beginning = asyncio.create_task(self.began.wait())
        done, _ = await asyncio.wait(
            [beginning, self.task], timeout=10, return_when=asyncio.FIRST_COMPLETED
        )
        assert done
        beginning.cancel()
        return self.status

    async def end(self):
        """Leave, and wait for the app."""
        self.leaves.set()
        await self.ended()

    async def ended(self):
        async with asyncio.timeout(10):
            await asyncio.gather(self.task, return_exceptions=True)


def key_of(request):
    """Count streams by a header; who names nobody is nobody."""
    return request.headers["x-key"].replace("nobody", "") or None


class House:
    """A source that stays until it is told to go, and knows how many are inside."""

    def __init__(self):
        self.inside = self.most = self.called = 0
        self.goes = anyio.Event()

    async def source(self, request):
        self.called += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            yield "in"
            await self.goes.wait()
        finally:
            self.inside -= 1
