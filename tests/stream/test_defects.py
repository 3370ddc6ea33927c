"""Streams whose source, hook or client does something at an awkward moment."""

import asyncio
import contextvars
import threading

import anyio
import pytest

from sse_asgi import EventStream, Outcome, ServerSentEvent, Shutdown
from tests.stage import on_trio
from tests.stream.peer import BODY, Block, Peer, Record, soon

FAREWELL = ServerSentEvent(event="bye", data="back soon")

pytestmark = pytest.mark.anyio


async def stubborn(event):
    """Wait for an event, and ignore every cancellation meanwhile."""
    while not event.is_set():
        try:
            with anyio.CancelScope(shield=True):
                await event.wait()
        except asyncio.CancelledError:
            pass


async def test_abandoned_source_that_goes_on_starts_nothing_again(monkeypatch):
    """Under trio it crashes the run; under asyncio a watcher and a timer stay for ever."""
    monkeypatch.setattr("sse_asgi.stream.lifecycle.LAST_CHANCE", 0.01)
    freed, waits = anyio.Event(), anyio.Event()
    calls = 0

    async def source(request):
        waits.set()
        await stubborn(freed)
        yield "late"

    async def receive():
        nonlocal calls
        calls += 1
        return await peer.receive()

    record = Record()
    app = EventStream(source, on_complete=record, prefetch=True, cleanup_timeout=0.01)
    async with Peer(lambda scope, _, send: app(scope, receive, send)) as peer:
        await soon(waits)
        await anyio.sleep(0.01)
        peer.leave()
        with anyio.fail_after(5):
            while not record:
                await anyio.sleep(0.01)
        calls_before = calls
        freed.set()
        await peer.until(lambda: peer.ended)
        for _ in range(5):
            await anyio.sleep(0)
    assert calls == calls_before
