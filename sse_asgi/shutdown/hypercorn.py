"""Noticing that a hypercorn worker stops.

By default hypercorn serves from a child process that gets no signal: its parent sets a flag,
on which the child sets an event, `context.terminated`, in the coroutine `worker_serve` that all
of the worker runs in. That event is not public; where it is not found, nothing is noticed, and
`Shutdown.begin` remains.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from types import CoroutineType
from typing import Any, Protocol

import anyio

from sse_asgi.host.loops import in_asyncio


class _Event(Protocol):
    async def wait(self) -> None: ...


class _Stream(Protocol):
    def shut_down_in(self, seconds: float) -> None: ...


class HypercornWatch:
    """Tells the streams of a worker when it stops, and no others.

    For each worker one task waits for that, while streams are open there.
    """

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._workers: dict[_Stream, _Worker] = {}

    def enter(self, stream: _Stream) -> None:
        """Count a stream in; called in its own task."""
        terminated = _terminated_event() if "hypercorn" in sys.modules else None
        if terminated is not None:
            workers = tuple(self._workers.values())  # other threads have theirs here, too
            known = (worker for worker in workers if worker.terminated is terminated)
            worker = next(known, None) or _Worker(terminated, self._grace)
            self._workers[stream] = worker
            worker.enter(stream)

    def leave(self, stream: _Stream) -> None:
        """Count it out again; the last one of a worker ends the wait there."""
        worker = self._workers.pop(stream, None)
        if worker is not None:
            worker.leave(stream)


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


def _terminated_event() -> _Event | None:
    """Return the event of the worker that runs this task, if one can be found."""
    context = _context_of_this_task()
    if context is None:  # a framework runs it in a task of its own
        contexts = list(_contexts_of_this_loop())
        context = contexts[0] if len(contexts) == 1 else None
    return getattr(context, "terminated", None)


def _context_of_this_task() -> Any:  # noqa: ANN401 - not public
    send = _local("send", of="_handle", coroutine=_current_coroutine())
    return getattr(getattr(send, "__self__", None), "context", None)


def _contexts_of_this_loop() -> Iterator[Any]:
    for coroutine in _running_coroutines():
        context = _local("context", of="worker_serve", coroutine=coroutine)
        if context is not None:
            yield context


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
