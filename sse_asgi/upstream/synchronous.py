"""A stream of a sync SDK: a sync iterator, and an async one that steps it in a thread."""

from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import ExitStack
from typing import Self

import anyio.to_thread

from sse_asgi.source.thread import ThreadedIterator
from sse_asgi.upstream.reader import Item, Reader, SDKObject


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
