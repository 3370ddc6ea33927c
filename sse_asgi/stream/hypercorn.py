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
from typing import Any, Protocol, cast

import anyio

from sse_asgi.stream.loops import in_asyncio


class _Event(Protocol):
    async def wait(self) -> None: ...


class HypercornWatch:
    """Calls a function when the worker stops that runs the current event loop.

    For each event loop one task waits for that, while streams are open there.
    """

    def __init__(self, on_stop: Callable[[], None]) -> None:
        self._on_stop = on_stop
        self._open: dict[object, tuple[int, Callable[[], object]]] = {}  # streams, and how to end

    def enter(self) -> None:
        """Count a stream in."""
        if "hypercorn" in sys.modules:
            loop = _current_loop()
            streams, end = self._open.get(loop) or (0, self._begin())
            self._open[loop] = streams + 1, end

    def leave(self) -> None:
        """Count it out again; the last one of an event loop ends the wait there."""
        if self._open:
            loop = _current_loop()
            streams, end = self._open.pop(loop)
            if streams > 1:
                self._open[loop] = streams - 1, end
            else:
                end()

    def _begin(self) -> Callable[[], object]:
        terminated = _terminated_event()
        if terminated is None:
            return lambda: None
        scope = anyio.CancelScope()
        if in_asyncio():
            return asyncio.get_running_loop().create_task(self._wait(terminated, scope)).cancel
        import trio  # noqa: PLC0415 - running under it, so it is there

        trio.lowlevel.spawn_system_task(self._wait, terminated, scope)
        return scope.cancel

    async def _wait(self, terminated: _Event, scope: anyio.CancelScope) -> None:
        with scope:
            await terminated.wait()
            self._on_stop()


def _terminated_event() -> _Event | None:
    for coroutine in _running_coroutines():
        frame = coroutine.cr_frame
        if frame is not None and frame.f_code.co_name == "worker_serve":
            context = frame.f_locals.get("context")
            return cast("_Event | None", getattr(context, "terminated", None))
    return None


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
    for nursery in root.child_nurseries if root is not None else ():
        for child in nursery.child_tasks:
            yield child.coro


def _current_loop() -> object:
    if in_asyncio():
        return asyncio.get_running_loop()
    import trio  # noqa: PLC0415 - running under it, so it is there

    return trio.lowlevel.current_trio_token()
