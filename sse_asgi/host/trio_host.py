"""The host under trio: a nursery for the stream, and a scope around what may be cancelled."""

import math
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import ClassVar, cast

import trio

from sse_asgi.asgi import Message, Send
from sse_asgi.host.loops import Handle, Life


class TrioHost:
    """trio, as one stream sees it: the methods of `AsyncioHost`. Make it in the server's task."""

    __slots__ = ("_inner", "_nursery", "_scope", "call_threadsafe", "loop")

    cancelled: type[BaseException] = trio.Cancelled
    clock: ClassVar["staticmethod[[], float]"] = staticmethod(trio.current_time)

    def __init__(self) -> None:
        self.loop: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()
        self.call_threadsafe: Callable[..., None] = self.loop.run_sync_soon
        self._scope = self._inner = trio.CancelScope()
        self._nursery: trio.Nursery

    async def live(self, life: Life) -> None:
        """Run a stream's whole life inside of a nursery, which ends with it."""
        error: BaseException | None = None
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    await life()
                except trio.Cancelled:
                    pass  # raised again below, bare and not in the nursery's group
                except Exception as caught:  # noqa: BLE001 - raised below, likewise
                    error = caught
                self._nursery.cancel_scope.cancel()
        finally:
            del self._nursery
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            if error is not None:
                raise error
        finally:
            del error  # its traceback holds this frame

    def working(self) -> AbstractContextManager[object]:
        self._scope = trio.CancelScope()
        return self._scope

    def cancel_work(self) -> None:
        self._scope.cancel()
        self._inner.cancel()

    def sending(self, send: Send) -> Send:
        """Return a `send` in a scope of its own: the source may yield inside of a shield."""

        async def send_in_scope(message: Message) -> None:
            with trio.CancelScope() as self._inner:
                await send(message)

        return send_in_scope

    def cleanup(self) -> AbstractContextManager[object]:
        """Return a shield, which the next `cancel_work` ends."""
        self._inner = trio.CancelScope(shield=True)
        return self._inner

    def cancels(self, release: Handle) -> bool:  # noqa: ARG002 - it is inside of `working`
        """Tell that `cancel_work` reaches every await of a wrapped app."""
        return True

    def is_cancelled(self) -> bool:
        """Tell whether a scope around here is cancelled: the source's, or the server's."""
        return trio.current_effective_deadline() == -math.inf and not self._scope.cancel_called

    def keep(self, error: BaseException) -> None:
        """Do nothing: a scope that is cancelled raises at the next checkpoint again."""

    def as_failure(self, error: BaseException) -> BaseException:
        """Return an exception without cancellations: trio's must not be kept, and go no further."""
        if isinstance(error, BaseExceptionGroup):
            group = cast("BaseExceptionGroup[BaseException]", error)
            return group.split(trio.Cancelled)[1] or group
        if not isinstance(error, trio.Cancelled):
            return error
        failure = RuntimeError("a cancellation came from a scope that is not around the stream")
        failure.__cause__ = error
        return failure

    def take_back(self) -> None:
        """Do nothing: a scope's cancellation ends with the scope."""

    async def raise_cancellation(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()

    async def shield(self, awaitable: Awaitable[object]) -> None:
        with trio.CancelScope(shield=True):
            await awaitable

    def releasable(self) -> trio.CancelScope:
        return trio.CancelScope()

    def start(self, function: Life) -> Handle:
        scope = trio.CancelScope()
        self._nursery.start_soon(_run_in, scope, function)
        return scope

    def call_soon(self, function: Callable[[], object]) -> Handle:
        """Call a function from trio's own queue, so at the earliest when this task waits."""
        call = trio.CancelScope()  # nothing is ever in it
        self.loop.run_sync_soon(_call_unless_cancelled, call, function)
        return call

    def call_later(self, seconds: float, function: Callable[..., object], *args: object) -> Handle:
        scope = trio.CancelScope()
        self._nursery.start_soon(_run_in, scope, partial(_call_after, seconds, function, *args))
        return scope

    def event(self) -> trio.Event:
        return trio.Event()


def _call_unless_cancelled(scope: trio.CancelScope, function: Callable[[], object]) -> None:
    if not scope.cancel_called:
        function()


async def _run_in(scope: trio.CancelScope, function: Life) -> None:
    with scope:
        if not scope.cancel_called:
            await function()


async def _call_after(seconds: float, function: Callable[..., object], *args: object) -> None:
    await trio.sleep(seconds)
    function(*args)
