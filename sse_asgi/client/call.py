"""Hooks, which are sync or async."""

import inspect
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


async def call(hook: Callable[[T], object] | None, value: T) -> None:
    """Call a hook, if there is one, and await what it returns, if that can be awaited."""
    result = hook(value) if hook is not None else None
    if inspect.isawaitable(result):
        await result
