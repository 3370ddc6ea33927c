"""A sync iterable as an async iterator: one thread of its own steps and closes it.

Why no thread pool: a sync source may block for minutes, and forty of them would take every
thread that the rest of the application waits for. Why one thread for the whole life: context
variables, thread-locals and connections bound to their thread stay valid between steps.
"""

import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

import anyio

from sse_asgi.host.host import current_host

T = TypeVar("T")

_END: Final[Any] = object()


class _Call:
    """A call that the thread makes, and what comes of it."""

    __slots__ = ("done", "error", "function", "value")

    def __init__(self, function: Callable[[], Any]) -> None:
        self.function = function
        self.done = anyio.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def make(self) -> None:
        try:
            self.value = self.function()
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            self.error = error

    async def result(self) -> Any:  # noqa: ANN401 - whatever the iterator gave
        await self.done.wait()
        error, self.error = self.error, None
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error  # or its traceback would hold this frame, and this frame the error


_Calls = SimpleQueue[_Call | None]


class ThreadedIterator(AsyncIterator[T], Generic[T]):
    """Steps a sync iterable in a thread of its own, under one copy of the caller's context.

    A cancelled step is left behind: Python cannot interrupt it. The thread finishes it, closes
    the iterator then, and ends.
    """

    __slots__ = ("_calls", "_chunks", "_context", "_run_soon")

    def __init__(self, iterable: Iterable[T]) -> None:
        self._chunks = _chunks_of(iterable)
        self._calls: _Calls | None = None
        self._context = contextvars.copy_context()
        self._run_soon = current_host().call_threadsafe

    async def __anext__(self) -> T:
        try:
            chunk: T = await self._call(partial(next, self._chunks, _END))
        except StopAsyncIteration as error:  # it would pass for the end
            raise RuntimeError("the source raised StopAsyncIteration") from error
        if chunk is _END:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the iterator in its thread and wait for that; once is enough."""
        if self._calls is not None:
            try:
                await self._call(self._chunks.close)
            finally:
                self.abandon()

    def abandon(self) -> None:
        """Have the thread close the iterator and end, as soon as it can; wait for nothing."""
        if self._calls is not None:
            self._calls.put(None)
            self._calls = None

    async def _call(self, function: Callable[[], Any]) -> Any:  # noqa: ANN401 - as the iterator's
        if self._calls is None:
            self._calls = SimpleQueue()
            run = self._context.copy().run  # the thread before, if any, may not have left its own
            arguments = (_serve, self._chunks, self._calls, self._run_soon)
            name = "sse_asgi source"
            threading.Thread(target=run, args=arguments, name=name, daemon=True).start()
        call = _Call(function)
        self._calls.put(call)
        return await call.result()


def _chunks_of(iterable: Iterable[T]) -> Generator[T]:
    iterator = iter(iterable)
    try:
        for chunk in iterator:  # noqa: UP028 - `yield from` would close it, too, but not always
            yield chunk
    finally:
        if close := getattr(iterator, "close", None):
            close()


def _serve(
    chunks: Generator[object], calls: _Calls, run_soon: Callable[[Callable[[], object]], object]
) -> None:
    """Make all calls in the thread, and close what is left."""
    with suppress(RuntimeError):  # the event loop is gone, and nobody is left to hear
        while (call := calls.get()) is not None:
            call.make()
            run_soon(call.done.set)
            del call
    with suppress(Exception):
        chunks.close()
