"""Noticing that a hypercorn worker stops.

By default hypercorn serves from a child process that gets no signal: its parent sets a flag,
on which the child sets an event, `context.terminated`, in the coroutine `worker_serve` that all
of the worker runs in. That event is not public. Where it is not found, or where an event loop has
several workers, nothing is noticed, and `Shutdown.begin` remains.
"""

import asyncio
from collections.abc import Callable, Iterator
from types import CoroutineType
from typing import Any, Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary

from sse_asgi.host.loops import in_asyncio

FAREWELL_TIME: Final = 0.5
"""Seconds that a stream may need for its farewell, once its grace is over."""


class _Event(Protocol):
    async def wait(self) -> None: ...

    def is_set(self) -> bool: ...


class _Stream(Protocol):
    def shut_down_in(self, seconds: float) -> None: ...


class _Worker(NamedTuple):
    """A worker, and its streams that are open."""

    terminated: _Event
    grace: float
    streams: set[_Stream]


class HypercornWatch:
    """Tells the streams of a worker when it stops.

    For each worker one task waits for that, while streams are open there. hypercorn cancels its
    streams after its `graceful_timeout`; where that is shorter than `grace`, it counts.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._workers: WeakKeyDictionary[object, _Worker] = WeakKeyDictionary()  # by event loop
        self._open: dict[_Stream, tuple[_Worker, Callable[[], object]]] = {}

    def enter(self, stream: _Stream, loop: object) -> None:
        """Count a stream of the running event loop in."""
        worker = self._worker_of(loop)
        if worker is not None:
            others = [self._open[other] for other in worker.streams]
            stop_waiting = others[0][1] if others else _start(worker)
            self._open[stream] = worker, stop_waiting
            worker.streams.add(stream)

    def leave(self, stream: _Stream) -> None:
        """Count it out again; the last one of a worker ends the wait there."""
        worker, stop_waiting = self._open.pop(stream, (None, None))
        if worker is not None and stop_waiting is not None:
            worker.streams.remove(stream)
            if not worker.streams:
                stop_waiting()

    def is_stopping(self, loop: object) -> bool:
        """Tell whether the worker of the running event loop stops."""
        worker = self._worker_of(loop)
        return worker is not None and worker.terminated.is_set()

    def _worker_of(self, loop: object) -> _Worker | None:
        """Return the only worker of the running event loop; the search looks at every task."""
        worker = self._workers.get(loop)
        if worker is None or worker.terminated.is_set():
            found = list(_found_workers(self._grace))
            worker = found[0] if len(found) == 1 else None
            if worker is not None:
                self._workers[loop] = worker
        return worker


def _start(worker: _Worker) -> Callable[[], object]:
    """Have the streams of a worker told, in a task beside all requests; return what ends it."""
    if in_asyncio():
        return asyncio.get_running_loop().create_task(_tell_when_it_stops(worker)).cancel
    import trio  # noqa: PLC0415 - running under it, so it is there

    scope = trio.CancelScope()

    async def tell() -> None:
        with scope:
            await _tell_when_it_stops(worker)

    trio.lowlevel.spawn_system_task(tell)
    return scope.cancel


async def _tell_when_it_stops(worker: _Worker) -> None:
    await worker.terminated.wait()
    for stream in tuple(worker.streams):
        stream.shut_down_in(worker.grace)


def _found_workers(grace: float) -> Iterator[_Worker]:
    for coroutine in _running_coroutines():
        frame = coroutine.cr_frame
        if frame is None or frame.f_code.co_name != "worker_serve":
            continue
        terminated = getattr(frame.f_locals.get("context"), "terminated", None)
        patience = getattr(frame.f_locals.get("config"), "graceful_timeout", None)
        if isinstance(patience, (int, float)):
            grace = min(grace, max(0.0, patience - FAREWELL_TIME))
        if terminated is not None:
            yield _Worker(terminated, grace, set())


def _running_coroutines() -> "Iterator[CoroutineType[Any, Any, Any]]":
    """Yield the coroutines of all tasks, and those that they await."""
    for outermost in _outermost_coroutines():
        coroutine = outermost
        while isinstance(coroutine, CoroutineType):
            yield coroutine
            coroutine = coroutine.cr_await


def _outermost_coroutines() -> Iterator[Any]:
    if in_asyncio():
        yield from [task.get_coro() for task in asyncio.all_tasks()]
        return
    import trio  # noqa: PLC0415 - running under it, so it is there

    root = trio.lowlevel.current_root_task()
    living = [] if root is None else [root]
    while living:
        one = living.pop()
        yield one.coro
        living += (child for nursery in one.child_nurseries for child in nursery.child_tasks)
