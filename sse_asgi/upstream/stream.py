"""The stream of an SDK, read and closed in one place: of an async SDK, and of a sync one."""

import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import AsyncExitStack, ExitStack
from typing import Self

import anyio
import anyio.to_thread

from sse_asgi.source.thread import ThreadedIterator
from sse_asgi.upstream.reader import Item, Reader, SDKObject

CLOSE_TIMEOUT = 5.0
"""Seconds that closing an upstream may take."""


class AsyncUpstream(AsyncIterator[Item]):
    """Text and parts of an upstream, which is closed when this ends, however it does.

    A class around a generator, because a generator that was never stepped closes nothing.
    """

    def __init__(self, stream: SDKObject, reader: Reader) -> None:
        self._stream = stream
        self._steps = _read_async(stream, reader)
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
            await _close_async(self._stream)


async def _read_async(stream: SDKObject, reader: Reader) -> AsyncGenerator[Item]:
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
    stack.push_async_callback(_close_async, stream)
    return stream


async def _close_async(stream: SDKObject) -> None:
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


class SyncUpstream(Iterator[Item], AsyncIterator[Item]):
    """Text and parts of an upstream, which is closed when this ends, however it does.

    Iterated asynchronously, one thread of its own steps and closes it. Python cannot interrupt a
    step: where one is cancelled, the thread closes the upstream as soon as its next event comes.
    """

    def __init__(self, stream: SDKObject, reader: Reader) -> None:
        self._stream = stream
        self._steps = _read(stream, reader)
        self._thread: ThreadedIterator[Item] | None = None
        self._begun = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        self._begun = True
        return next(self._steps)

    def close(self) -> None:
        """Close the upstream, also before the first step. Once is enough."""
        if self._begun:
            self._steps.close()
        else:
            self._begun = True
            _close(self._stream)

    async def __anext__(self) -> Item:
        self._begun = True
        if self._thread is None:
            self._thread = ThreadedIterator(self._steps)
        try:
            return await self._thread.__anext__()
        except BaseException:  # its end, too: the thread is to end
            self._thread.abandon()
            raise

    async def aclose(self) -> None:
        """Close the upstream in its thread, also before the first step. Once is enough."""
        if self._thread is None:
            await anyio.to_thread.run_sync(self.close)
        else:
            await self._thread.aclose()

    def __del__(self) -> None:
        if self._thread is not None:  # `async for` that was left closes nothing
            self._thread.abandon()


def _read(stream: SDKObject, reader: Reader) -> Generator[Item]:
    with ExitStack() as stack:
        if hasattr(stream, "__enter__") and not hasattr(stream, "__iter__"):
            stream = stack.enter_context(stream)
        stack.callback(_close, stream)
        for event in reader.events(stream):
            yield from reader.read(event)
        yield from reader.end(stream)


def _close(stream: SDKObject) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        close()
