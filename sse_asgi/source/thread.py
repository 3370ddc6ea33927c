"""A sync iterable as an async iterator: one thread of its own steps and closes it.

Why no thread pool: a sync source may block for minutes, and forty of them would take every
thread that the rest of the application waits for. Why one thread for the whole life: context
variables, thread-locals and connections bound to their thread stay valid between steps.
"""

import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, Final, Generic, TypeVar

import anyio

from sse_asgi.host.host import current_host

T = TypeVar("T")

_END: Final[Any] = object()


class _Reply:
    """The thread's answer to one command, and the event that announces it."""

    __slots__ = ("error", "ready", "value")

    def __init__(self) -> None:
        self.ready = anyio.Event()
        self.value: Any = None
        self.error: BaseException | None = None

    def result(self) -> Any:  # noqa: ANN401 - whatever the iterator gave
        error, self.error = self.error, None
        if error is None:
            return self.value
        try:
            raise error
        finally:
            del error  # or its traceback would hold this frame, and this frame the error


_Commands = SimpleQueue[tuple[Callable[[Iterator[Any]], Any] | None, _Reply]]


class ThreadedIterator(AsyncIterator[T], Generic[T]):
    """Steps a sync iterable in a thread of its own, under one copy of the caller's context.

    A cancelled step is left behind: Python cannot interrupt it. The thread finishes it, closes
    the iterator then, and ends.
    """

    __slots__ = ("_commands", "_iterable", "_run_soon", "context")

    def __init__(self, iterable: Iterable[T]) -> None:
        self._iterable = iterable
        self._commands: _Commands | None = None
        self.context: contextvars.Context | None = None  # the caller's, unless it is set
        self._run_soon = current_host().call_threadsafe

    async def __anext__(self) -> T:
        try:
            chunk: T = await self._ask(_step)
        except StopAsyncIteration as error:  # it would pass for the end
            raise RuntimeError("the source raised StopAsyncIteration") from error
        if chunk is _END:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        """Close the iterator in its thread and wait for that; once is enough."""
        if self._commands is not None:
            try:
                await self._ask(None)
            finally:
                self._commands = None

    def abandon(self) -> None:
        """Have the thread close the iterator and end, as soon as it can; wait for nothing."""
        if self._commands is not None:
            self._commands.put((None, _Reply()))
            self._commands = None

    async def _ask(self, command: Callable[[Iterator[T]], Any] | None) -> Any:  # noqa: ANN401
        if self._commands is None:
            self._commands = self._start()
        reply = _Reply()
        self._commands.put((command, reply))
        await reply.ready.wait()
        return reply.result()

    def _start(self) -> _Commands:
        commands: _Commands = SimpleQueue()
        context = self.context or contextvars.copy_context()
        arguments = (_serve, self._iterable, commands, self._run_soon)
        threading.Thread(
            target=context.run, args=arguments, name="sse_asgi source", daemon=True
        ).start()
        return commands


def _serve(iterable: Iterable[T], commands: _Commands, run_soon: Callable[..., object]) -> None:
    """Run in the thread: obey commands until told to close."""
    iterator: Iterator[T] | None = None
    command: Callable[[Iterator[T]], Any] | None = _step
    while command is not None:
        command, reply = commands.get()
        try:
            if iterator is None and command is not None:
                iterator = iter(iterable)
            if iterator is not None:
                reply.value = (command or _close)(iterator)
        except BaseException as error:  # noqa: BLE001 - it is raised again where it is awaited
            reply.error = error
        try:
            run_soon(reply.ready.set)
        except RuntimeError:  # the event loop is gone, and nobody is left to hear
            if command is not None and iterator is not None:
                with contextlib.suppress(Exception):
                    _close(iterator)
            return
        del reply


def _step(iterator: Iterator[T]) -> T:
    return next(iterator, _END)


def _close(iterator: Iterator[T]) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()
