"""What a stream needs of the event loop that runs it.

asyncio and trio differ in how a task is cancelled. asyncio cancels once: the await where the task
stands raises, and later awaits work again. trio cancels a scope: each await inside of it raises,
unless a shield is around it. The rest of the package sees that difference here alone.
"""

from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Protocol

from sse_asgi.asgi import Send

Life = Callable[[], Coroutine[Any, Any, None]]


class Handle(Protocol):
    """A task or a timer that can be cancelled."""

    def cancel(self) -> object:
        """Cancel it. Does nothing once it is done."""
        ...


class Event(Protocol):
    """An event that one task sets and another waits for."""

    def set(self) -> object:
        """Wake the waiters, now and later."""
        ...

    async def wait(self) -> object:
        """Wait until it is set."""
        ...


class Release(Handle, AbstractContextManager[object], Protocol):
    """A context around one await that another task can end."""


class Host(Protocol):
    """The event loop and the server's task, as one stream sees them.

    Attributes:
        cancelled: The exception by which this event loop cancels a task.
        clock: Returns seconds on a clock that only goes forward.
        loop: What stands for the event loop: one object for each, weakly referable.
        call_threadsafe: Calls a function soon, from any thread; a RuntimeError once the loop is gone.
        call_soon: Calls a function when the current task waits.
        call_later: Calls a function after so many seconds.
    """

    cancelled: type[BaseException]
    clock: Callable[[], float]
    loop: object
    call_threadsafe: Callable[..., object]
    call_soon: Callable[[Callable[[], object]], Handle]
    call_later: Callable[..., Handle]

    def live(self, life: Life) -> Awaitable[None]:
        """Run a stream's whole life in the server's task."""
        ...

    def work(self, life: Life) -> Awaitable[None]:
        """Return what runs a part of that life, whose awaits `cancel_work` cancels."""
        ...

    def cancel_work(self) -> None:
        """Cancel what the server's task awaits inside of `work`; under asyncio once per call."""
        ...

    def sending(self, send: Send) -> Send:
        """Return a `send` that `cancel_work` cancels, also inside of a shield of the source's."""
        ...

    def cleanup(self) -> AbstractContextManager[object]:
        """Return a context for a clean-up that must not be cut by the cancellation before it.

        The next `cancel_work` cuts it.
        """
        ...

    def cancels(self, release: "Release") -> bool:
        """Tell whether `cancel_work` ends this await, too."""
        ...

    def is_cancelled(self) -> bool:
        """Tell whether the server, or the source, has cancelled the server's task.

        Calls of `cancel_work` do not count. Under trio they hide what others cancel.
        """
        ...

    def keep(self, error: BaseException) -> None:
        """Note a cancellation that was caught, for `raise_cancellation`."""
        ...

    def as_failure(self, error: BaseException) -> BaseException:
        """Return what stands for a cancellation that nobody asked for."""
        ...

    def take_back(self) -> None:
        """Take back the calls of `cancel_work`, so that `Task.cancelling()` is what it was."""
        ...

    async def raise_cancellation(self) -> None:
        """Raise again the server's cancellation of its task, if there was one."""
        ...

    async def shield(self, awaitable: Awaitable[object]) -> None:
        """Await where no cancellation of the server's task reaches; raises what it raises."""
        ...

    def releasable(self) -> "Release":
        """Return a context around one await, which its `cancel` ends; nothing is raised then."""
        ...

    def move_here(self) -> None:
        """Let `cancel_work` concern the current task from now on."""
        ...

    def start(self, function: Life) -> Handle:
        """Start a task, which runs when the current one waits."""
        ...

    def event(self) -> Event:
        """Return a new event."""
        ...
