"""The host under asyncio: native tasks, timers and cancellations."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Final, Self

import anyio
import anyio.lowlevel

from sse_asgi.asgi import Send
from sse_asgi.host.loops import Handle, Life

_NO_SCOPE: Final = contextlib.nullcontext()


class _Release:
    """Ends the await inside of it by cancelling the task, and takes that back."""

    __slots__ = ("_cancelled", "_over", "task")

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task: asyncio.Task[object] = task
        self._cancelled = self._over = False

    def cancel(self) -> None:
        if not (self._cancelled or self._over):
            self._cancelled = True
            self.task.cancel()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self._over = True
        if not self._cancelled:
            return False
        self.task.uncancel()
        return kind is asyncio.CancelledError


class AsyncioHost:
    """asyncio, as one stream sees it. Make it in the server's task.

    asyncio counts the cancellations of a task. The host counts those that are its own, so it can
    tell them from the others, and takes them back.

    Attributes:
        cancelled: The exception by which this event loop cancels a task.
        clock: Returns seconds on a clock that only goes forward.
        loop: The event loop.
    """

    cancelled: type[BaseException] = asyncio.CancelledError
    clock: ClassVar["staticmethod[[], float]"] = staticmethod(time.monotonic)
    _message: tuple[Any, ...] = ()  # anyio's scopes know their cancellation by it

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        task: Any = asyncio.current_task(loop)
        self._task: asyncio.Task[Any] = task
        self._own = 0  # cancellations of the host's own that it has not taken back
        self._foreign_before: int = task.cancelling()

    def live(self, life: Life) -> Awaitable[None]:
        """Run a stream's whole life in the server's task."""
        return life()

    def working(self) -> AbstractContextManager[object]:
        """Return a context for a part of that life, whose awaits `cancel_work` cancels."""
        return _NO_SCOPE

    def cancel_work(self) -> None:
        """Cancel what the server's task awaits, once."""
        self._own += 1
        self._task.cancel()

    def sending(self, send: Send) -> Send:
        """Return a `send` that `cancel_work` cancels wherever the source stands."""
        return send

    def cleanup(self) -> AbstractContextManager[object]:
        """Return a context for a clean-up that the cancellation before it must not cut."""
        return _NO_SCOPE

    def cancels(self, release: Handle) -> bool:
        """Tell whether `cancel_work` ends this await of a wrapped app, too."""
        return isinstance(release, _Release) and release.task is self._task

    def is_cancelled(self) -> bool:
        """Tell whether the task was cancelled by others, who have not taken that back."""
        return self._task.cancelling() - self._own > self._foreign_before

    def keep(self, error: BaseException) -> None:
        """Note a cancellation that was caught, for `raise_cancellation`."""
        self._message = error.args

    def as_failure(self, error: BaseException) -> BaseException:
        """Return the exception to report for one that failed the stream: itself."""
        return error

    def take_back(self) -> None:
        """Take back the stream's own cancellations."""
        while self._own:
            self._own -= 1
            self._task.uncancel()

    async def raise_cancellation(self) -> None:
        """Raise again a cancellation by the server, with its own message."""
        if not self.is_cancelled():
            return
        if not self._message:  # the source has caught it: a scope of anyio's repeats it now
            await anyio.lowlevel.checkpoint_if_cancelled()
        del self._task  # it will hold the error, whose traceback holds the stream
        raise asyncio.CancelledError(*self._message)

    async def shield(self, awaitable: Awaitable[object]) -> None:
        """Await in a task of its own, which nobody cancels."""
        task = asyncio.ensure_future(awaitable)  # it holds no exception: the caller logs those
        with anyio.CancelScope(shield=True):
            while not task.done():
                try:
                    await asyncio.wait((task,))
                except asyncio.CancelledError as error:
                    self.keep(error)  # `raise_cancellation` raises it when the task is done
        del task

    def releasable(self) -> "_Release":
        """Return a context around one await, which its `cancel` ends; nothing is raised then."""
        task: Any = asyncio.current_task(self.loop)
        return _Release(task)

    def call_soon(self, function: Callable[[], object]) -> Handle:
        """Call a function when the current task waits."""
        return self.loop.call_soon(function)

    def call_later(self, seconds: float, function: Callable[..., object], *args: object) -> Handle:
        return self.loop.call_later(seconds, function, *args)

    def call_threadsafe(self, function: Callable[..., object], *args: object) -> object:
        """Call a function soon, from any thread; a RuntimeError if the loop is gone."""
        return self.loop.call_soon_threadsafe(function, *args)

    def start(self, function: Life) -> Handle:
        """Start a task; not by the loop's task factory, for an eager one would run it at once."""
        return asyncio.Task(function(), loop=self.loop)

    def event(self) -> asyncio.Event:
        return asyncio.Event()
