"""A source in a context of its own, where the server's lacks the variables that it needs.

A source runs in the server's task. What was set only around the endpoint that made the response
is unset by then: by a decorator, say, or by middleware that runs the endpoint in another task.
"""

import types
from collections.abc import AsyncIterator, Coroutine, Generator
from contextvars import Context
from typing import Any, TypeVar

from sse_asgi.source.request import Request
from sse_asgi.source.source import Chunk, Source, SourceOpener, close, throw
from sse_asgi.source.thread import ThreadedIterator

T = TypeVar("T")


class ContextOpener(SourceOpener):
    """A source that is called, stepped and closed in a fresh copy of a context, per response."""

    __slots__ = ("_context",)

    def __init__(self, source: Source, context: Context) -> None:
        if not isinstance(context, Context):
            raise TypeError(
                f"context must be a contextvars.Context or None, not {context!r} "
                f"({type(context).__qualname__}); pass contextvars.copy_context()"
            )
        super().__init__(source)
        self._context = context

    async def open(self, request: Request) -> AsyncIterator[Chunk]:
        context = self._context.copy()
        iterator = await _await_in(context, super().open(request))
        if isinstance(iterator, ThreadedIterator):  # its thread has a copy of the context
            return iterator
        return _ContextIterator(iterator, context)


class _ContextIterator(AsyncIterator[Chunk]):
    __slots__ = ("_context", "_iterator")

    def __init__(self, iterator: AsyncIterator[Chunk], context: Context) -> None:
        self._iterator = iterator
        self._context = context

    async def __anext__(self) -> Chunk:
        return await _await_in(self._context, self._next())

    async def athrow(self, error: BaseException) -> Chunk:
        work = throw(self._iterator, error)
        del error  # its traceback will hold this frame
        return await _await_in(self._context, work)

    async def aclose(self) -> None:
        await _await_in(self._context, close(self._iterator))

    async def _next(self) -> Chunk:
        return await anext(self._iterator)


@types.coroutine
def _await_in(context: Context, work: Coroutine[Any, Any, T]) -> Generator[Any, Any, T]:
    """Await a coroutine whose every step runs in a context; the task stays the same."""
    try:
        waiter = context.run(work.send, None)
        while True:
            try:
                answer = yield waiter
            except BaseException as error:  # noqa: BLE001 - it is the work's
                waiter = context.run(work.throw, error)
            else:
                waiter = context.run(work.send, answer)
    except StopIteration as end:
        result: T = end.value
        return result
