"""Awaitables that are stepped by hand, as a task steps its coroutine.

An awaitable of a server may be an iterator and no more: it has `__next__`, but neither `send` nor
`throw`. Whatever this module makes of it has all three.
"""

import types
from asyncio import CancelledError
from collections.abc import Awaitable, Generator, Iterator
from typing import Any, Final

Steps = Generator[Any, Any, None]
"""What is driven: each step gives what it waits for, a future or `None`."""

DONE: Final = object()
"""What the first step of an awaitable gives that did not have to wait."""


def first_step(awaitable: Awaitable[None]) -> tuple[Iterator[Any], Any]:
    """Take the first step; return the rest, and what that waits for, or `DONE`.

    `next` with a default tells of the end without the cost of an exception.
    """
    steps = awaitable.__await__()
    return steps, next(steps, DONE)


def rest_of(steps: Iterator[Any], waiter: Any) -> Steps:  # noqa: ANN401 - what a loop knows
    """Return the rest of steps that have begun elsewhere, and stand at this waiter."""
    while waiter is not DONE:
        try:
            yield waiter
        except BaseException as error:
            throw = getattr(steps, "throw", None)
            if throw is None:
                raise
            try:
                waiter = throw(error)
            except StopIteration:
                return
        else:
            waiter = next(steps, DONE)


@types.coroutine
def go_on(steps: Iterator[Any], waiter: Any) -> Steps:  # noqa: ANN401 - what a loop knows
    """Await the rest of steps that have begun elsewhere, and stand at this waiter."""
    yield from rest_of(steps, waiter)


def wake(steps: Steps, waiter: Any) -> Any:  # noqa: ANN401 - what a loop knows
    """Take a step as a task does: what the future raised is thrown into it.

    A server's own kind of future may yield itself again where it is only stepped.
    """
    if waiter is not None:
        try:
            waiter.result()
        except BaseException as error:  # noqa: BLE001 - it is theirs
            return steps.throw(error)
    return steps.send(None)


def cancel(steps: Steps, waiter: Any) -> Any:  # noqa: ANN401 - what a loop knows
    """Cancel steps as a task is cancelled, through what they wait for; return what that is now."""
    if waiter is None:
        return steps.throw(CancelledError())
    waiter.cancel()
    return waiter


@types.coroutine
def one_turn() -> Steps:
    """Let the event loop run once."""
    yield
