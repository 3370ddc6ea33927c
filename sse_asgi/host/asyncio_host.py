"""The host under asyncio: native tasks, timers and cancellations."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Final

import anyio
import anyio.lowlevel

from sse_asgi.asgi import Send
from sse_asgi.host.host import Handle, Life, Release

_NO_SCOPE: Final = contextlib.nullcontext()


class _Release:
    """Ends the await inside of it by cancelling the task, and takes that back."""

    __slots__ = ("_cancelled", "task")

    def __init__(self, task: "asyncio.Task[Any]") -> None:
        self.task = task
        self._cancelled = False

    def cancel(self) -> None:
        if not self._cancelled:
            self._cancelled = True
            self.task.cancel()

    def __enter__(self) -> "_Release":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if not self._cancelled:
            return False
        self.task.uncancel()
        return kind is asyncio.CancelledError


class AsyncioHost:
    """asyncio, as one stream sees it. Make it in the server's task.

    asyncio counts the cancellations of a task. The host counts those that are its own, so it can
    tell them from the others, and takes them back.
    """

    __slots__ = ("_foreign_before", "_message", "_own", "_task", "call_later", "call_soon",
                 "call_threadsafe", "loop")  # fmt: skip

    cancelled: type[BaseException] = asyncio.CancelledError
    clock = staticmethod(time.monotonic)

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.call_soon: Callable[..., Handle] = loop.call_soon
        self.call_later: Callable[..., Handle] = loop.call_later
        self.call_threadsafe: Callable[..., object] = loop.call_soon_threadsafe
        self._message: tuple[Any, ...] = ()  # anyio's scopes know their cancellation by it
        self.move_here()

    def live(self, life: Life) -> Awaitable[None]:
        """Run a stream's whole life in the server's task."""
        return life()

    def work(self, life: Life) -> Awaitable[None]:
        """Return the work itself: asyncio cancels tasks, not scopes."""
        return life()

    def cancel_work(self) -> None:
        """Cancel what the server's task awaits, once."""
        self._own += 1
        self._task.cancel()

    def sending(self, send: Send) -> Send:
        """Return `send` itself: a cancellation of the task reaches each of its awaits."""
        return send

    def cleanup(self) -> AbstractContextManager[object]:
        """Return a context that does nothing: a cancellation comes once."""
        return _NO_SCOPE

    def cancels(self, release: Release) -> bool:
        """Tell whether the await is one of the server's task."""
        return isinstance(release, _Release) and release.task is self._task

    def is_cancelled(self) -> bool:
        """Tell whether the task was cancelled by others, who have not taken that back."""
        return self._task.cancelling() - self._own > self._foreign_before

    def keep(self, error: BaseException) -> None:
        """Note the message of a cancellation that was caught."""
        self._message = error.args

    def as_failure(self, error: BaseException) -> BaseException:
        """Return it as it is: the source has awaited what was cancelled."""
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
        task = asyncio.ensure_future(awaitable)
        with anyio.CancelScope(shield=True):
            while not task.done():
                try:
                    await asyncio.wait((task,))
                except asyncio.CancelledError as error:
                    self.keep(error)  # `raise_cancellation` raises it when the task is done
        task.result()

    def releasable(self) -> "_Release":
        """Return a context around one await of the current task, which is not always the server's."""
        task: Any = asyncio.current_task(self.loop)
        return _Release(task)

    def move_here(self) -> None:
        """Let `cancel_work` concern the current task from now on."""
        task: Any = asyncio.current_task(self.loop)
        self._task: asyncio.Task[Any] = task
        self._own = 0
        self._foreign_before = self._task.cancelling()

    def start(self, function: Life) -> Handle:
        """Start a task; not by the loop's task factory, for an eager one would run it at once."""
        return asyncio.Task(function(), loop=self.loop)

    def event(self) -> asyncio.Event:
        """Return a new event."""
        return asyncio.Event()
