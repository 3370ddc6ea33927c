"""A stream of an async SDK, read and closed in one place."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack

import anyio

from sse_asgi.upstream.reader import Item, Reader, SDKObject

CLOSE_TIMEOUT = 5.0
"""Seconds that closing an upstream may take."""


class AsyncUpstream(AsyncIterator[Item]):
    """Text and parts of an upstream, which is closed when this ends, however it does.

    A class around a generator, because a generator that was never stepped closes nothing.
    """

    def __init__(self, stream: SDKObject, reader: Reader) -> None:
        self._stream = stream
        self._steps = _read(stream, reader)
        self._begun = False

    async def __anext__(self) -> Item:
        self._begun = True
        return await self._steps.__anext__()

    async def athrow(self, error: BaseException) -> Item:
        """Raise an error where the iterator stands; the upstream is closed."""
        self._begun = True
        return await self._steps.athrow(error)

    async def aclose(self) -> None:
        """Close the upstream, also before the first step. Once is enough."""
        await self._steps.aclose()
        if not self._begun:
            self._begun = True
            await _close(self._stream)


async def _read(stream: SDKObject, reader: Reader) -> AsyncGenerator[Item]:
    async with AsyncExitStack() as stack:
        opened = await _open(stream, stack)
        async for event in reader.events(opened):
            for item in reader.read(event):
                yield item
        for item in reader.end(opened):
            yield item


async def _open(stream: SDKObject, stack: AsyncExitStack) -> SDKObject:
    """Return the stream that has events: of a request to await, a manager to enter, or itself."""
    if inspect.isawaitable(stream):
        stream = await stream
    if hasattr(stream, "__aenter__") and not hasattr(stream, "__aiter__"):
        stream = await stack.enter_async_context(stream)
    stack.push_async_callback(_close, stream)
    return stream


async def _close(stream: SDKObject) -> None:
    """Close a stream, under a cancellation, too, or the upstream would generate on for nobody."""
    for name in ("aclose", "close", "cancel"):
        close = getattr(stream, name, None)
        if close is not None:
            break
    else:
        return
    with anyio.move_on_after(CLOSE_TIMEOUT, shield=True):
        closing = close()
        if inspect.isawaitable(closing):
            await closing
