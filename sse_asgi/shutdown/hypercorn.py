"""Noticing that a hypercorn worker stops.

By default hypercorn serves from a child process that gets no signal: its parent sets a flag,
on which the child sets an event, `context.terminated`, in the coroutine `worker_serve` that all
of the worker runs in. That event is not public; where it is not found, nothing is noticed, and
`Shutdown.begin` remains.
"""

import asyncio
import math
from collections.abc import Callable, Iterator
from types import CoroutineType
from typing import Any, Final, NamedTuple, Protocol
from weakref import WeakKeyDictionary

import anyio

from sse_asgi.host.loops import in_asyncio

FAREWELL_TIME: Final = 0.5
"""Seconds that a stream may need for its farewell, once its grace is over."""


class _Event(Protocol):
    async def wait(self) -> None: ...

    def is_set(self) -> bool: ...


class _Stream(Protocol):
    def shut_down_in(self, seconds: float) -> None: ...


class _Found(NamedTuple):
    """What a worker tells of its end."""

    terminated: _Event
    patience: float  # seconds that it waits for its streams


class HypercornWatch:
    """Tells the streams of a worker when it stops, and no others.

    For each worker one task waits for that, while streams are open there. hypercorn cancels its
    streams after its `graceful_timeout`; where that is shorter than `grace`, it counts.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._workers: dict[_Stream, _Worker] = {}
        self._found: WeakKeyDictionary[object, _Found] = WeakKeyDictionary()

    def enter(self, stream: _Stream, loop: object) -> None:
        """Count a stream in; called in its own task."""
        found = _found_here() or self._found_in(loop)
        if found is not None:
            workers = tuple(self._workers.values())  # other threads have theirs here, too
            known = (worker for worker in workers if worker.terminated is found.terminated)
            worker = next(known, None) or _Worker(found.terminated, self._grace_in(found))
            self._workers[stream] = worker
            worker.enter(stream)

    def leave(self, stream: _Stream) -> None:
        """Count it out again; the last one of a worker ends the wait there."""
        worker = self._workers.pop(stream, None)
        if worker is not None:
            worker.leave(stream)

    def is_stopping(self, loop: object) -> bool:
        """Tell whether the worker that runs this very task, or the only one here, stops."""
        found = _found_here() or self._found_in(loop)
        return found is not None and found.terminated.is_set()

    def _found_in(self, loop: object) -> _Found | None:
        """Return what the only worker of an event loop tells; the search looks at every task."""
        found = self._found.get(loop)
        if found is None or found.terminated.is_set():
            everywhere = list(_all_found())
            found = everywhere[0] if len(everywhere) == 1 else None
            if found is not None:
                self._found[loop] = found
        return found

    def _grace_in(self, found: _Found) -> float:
        return min(self._grace, max(0.0, found.patience - FAREWELL_TIME))


class _Worker:
    """A worker with open streams."""

    def __init__(self, terminated: _Event, grace: float) -> None:
        self.terminated = terminated
        self._grace = grace
        self._streams: set[_Stream] = set()
        self._end: Callable[[], object]

    def enter(self, stream: _Stream) -> None:
        if not self._streams:
            self._end = self._begin_to_wait()
        self._streams.add(stream)

    def leave(self, stream: _Stream) -> None:
        self._streams.remove(stream)
        if not self._streams:
            self._end()

    def _begin_to_wait(self) -> Callable[[], object]:
        scope = anyio.CancelScope()
        if in_asyncio():
            return asyncio.get_running_loop().create_task(self._wait(scope)).cancel
        import trio  # noqa: PLC0415 - running under it, so it is there

        trio.lowlevel.spawn_system_task(self._wait, scope)
        return scope.cancel

    async def _wait(self, scope: anyio.CancelScope) -> None:
        with scope:
            await self.terminated.wait()
            for stream in tuple(self._streams):
                stream.shut_down_in(self._grace)


def _found_here() -> _Found | None:
    """Return what the worker that runs this very task tells, if that is a task of hypercorn's."""
    send = _local("send", of="_handle", coroutine=_current_coroutine())
    connection = getattr(send, "__self__", None)
    return _found(getattr(connection, "context", None), getattr(connection, "config", None))


def _all_found() -> Iterator[_Found]:
    for coroutine in _running_coroutines():
        context = _local("context", of="worker_serve", coroutine=coroutine)
        found = _found(context, _local("config", of="worker_serve", coroutine=coroutine))
        if found is not None:
            yield found


def _found(context: Any, config: Any) -> _Found | None:  # noqa: ANN401 - not public
    terminated = getattr(context, "terminated", None)
    if terminated is None:
        return None
    patience = getattr(config, "graceful_timeout", None)
    return _Found(terminated, patience if isinstance(patience, (int, float)) else math.inf)


def _local(name: str, *, of: str, coroutine: object) -> Any:  # noqa: ANN401 - whatever it is
    """Return a variable of a running coroutine, if it runs the function of that name."""
    frame = coroutine.cr_frame if isinstance(coroutine, CoroutineType) else None
    return frame.f_locals.get(name) if frame is not None and frame.f_code.co_name == of else None


def _running_coroutines() -> "Iterator[CoroutineType[Any, Any, Any]]":
    """Yield the coroutines of all tasks, and those that they await."""
    for outermost in _outermost_coroutines():
        coroutine = outermost
        while isinstance(coroutine, CoroutineType):
            yield coroutine
            coroutine = coroutine.cr_await


def _outermost_coroutines() -> Iterator[Any]:
    if in_asyncio():
        for task in asyncio.all_tasks():
            yield task.get_coro()
        return
    import trio  # noqa: PLC0415 - running under it, so it is there

    root = trio.lowlevel.current_root_task()
    living = [] if root is None else [root]
    while living:
        one = living.pop()
        yield one.coro
        living += (child for nursery in one.child_nurseries for child in nursery.child_tasks)


def _current_coroutine() -> Any:  # noqa: ANN401 - of any kind
    if in_asyncio():
        task = asyncio.current_task()
        return None if task is None else task.get_coro()
    import trio  # noqa: PLC0415 - running under it, so it is there

    return trio.lowlevel.current_task().coro
