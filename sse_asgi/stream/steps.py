"""Awaitables that are stepped by hand, as a task steps its coroutine."""

import types
from collections.abc import Awaitable, Generator
from typing import Any, Final

Steps = Generator[Any, Any, None]
"""What is driven: each step gives what it waits for, a future or `None`."""

DONE: Final = object()
"""What `begin` says of an awaitable that did not have to wait."""


def begin(awaitable: Awaitable[None]) -> tuple[Steps, Any]:
    """Take the first step; return the steps, and what they wait for, or `DONE`.

    `next` with a default tells of the end without the cost of an exception.
    """
    steps = awaitable.__await__()
    return steps, next(steps, DONE)


def rest_of(steps: Steps, waiter: Any) -> Steps:  # noqa: ANN401 - whatever an event loop knows
    """Return the rest of steps that have begun elsewhere, and stand at this waiter."""
    try:
        while True:
            try:
                yield waiter
            except BaseException as error:  # noqa: BLE001 - it is theirs
                waiter = steps.throw(error)
            else:
                waiter = steps.send(None)
    except StopIteration:
        return


@types.coroutine
def go_on(steps: Steps, waiter: Any) -> Steps:  # noqa: ANN401 - whatever an event loop knows
    """Await the rest of steps that have begun elsewhere, and stand at this waiter."""
    yield from rest_of(steps, waiter)


def wake(steps: Steps, waiter: Any) -> Any:  # noqa: ANN401 - whatever an event loop knows
    """Take a step as a task does: what the future raised is thrown into it.

    A server's own kind of future may yield itself again where it is only stepped.
    """
    if waiter is not None:
        try:
            waiter.result()
        except BaseException as error:  # noqa: BLE001 - it is theirs
            return steps.throw(error)
    return steps.send(None)


@types.coroutine
def one_turn() -> Steps:
    """Let the event loop run once."""
    yield
