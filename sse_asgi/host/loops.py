"""What asyncio and trio have in common by name, for the few places that must serve both."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

Life = Callable[[], Coroutine[Any, Any, None]]


class Handle(Protocol):
    """A task, a timer or an await that can be cancelled; once it is done, that does nothing."""

    def cancel(self) -> object:
        """Cancel it."""


class Event(Protocol):
    """An event that one task sets and another waits for."""

    def set(self) -> object:
        """Wake the tasks that wait; those that come later do not wait at all."""

    async def wait(self) -> object:
        """Wait until it is set."""


def in_asyncio() -> bool:
    """Tell whether asyncio runs this code; if not, trio does."""
    return isinstance(running_loop(), asyncio.AbstractEventLoop)


def running_loop() -> object | None:
    """Return what stands for the event loop that runs in this thread, `None` for none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        if "trio" not in sys.modules:
            return None
    import trio  # noqa: PLC0415 - it is there already

    try:
        return trio.lowlevel.current_trio_token()
    except RuntimeError:
        return None
