"""Noticing that a hypercorn worker stops.

By default hypercorn serves from a child process that gets no signal: its parent sets a flag,
on which the child sets an event, `context.terminated`, in the coroutine `worker_serve` that all
of the worker runs in. That event is not public. Where it is not found, or where an event loop has
several workers, nothing is noticed, and `Shutdown.begin` remains.
"""

import math
from collections.abc import Iterator
from types import CoroutineType, FrameType
from typing import Any, Final, NamedTuple, Protocol

import anyio

FAREWELL_TIME: Final = 0.5
"""Seconds that a stream may need for its farewell, once its grace is over."""


class _Terminated(Protocol):
    async def wait(self) -> object: ...
    def is_set(self) -> bool: ...


class Worker(NamedTuple):
    """A worker: the event of its stop, and the grace that its `graceful_timeout` leaves."""

    terminated: _Terminated
    grace: float


def find_worker() -> Worker | None:
    """Return the only worker of the running event loop; call it in a task.

    The search looks at every task, and at all that each of them awaits.
    """
    workers = [worker for frame in _frames() if (worker := _worker_in(frame)) is not None]
    return workers[0] if len(workers) == 1 else None


def _frames() -> Iterator[FrameType]:
    for task in anyio.get_running_tasks():
        coroutine: Any = task.coro
        while isinstance(coroutine, CoroutineType):
            if coroutine.cr_frame is not None:
                yield coroutine.cr_frame
            coroutine = coroutine.cr_await


def _worker_in(frame: FrameType) -> Worker | None:
    if frame.f_code.co_name != "worker_serve":
        return None
    terminated = getattr(frame.f_locals.get("context"), "terminated", None)
    patience = getattr(frame.f_locals.get("config"), "graceful_timeout", None)
    if not isinstance(patience, (int, float)):
        patience = math.inf
    return None if terminated is None else Worker(terminated, max(0.0, patience - FAREWELL_TIME))
