"""The sources of generations: those of streams, and callables that take no argument."""

import inspect
from collections.abc import Awaitable, Callable
from typing import cast

from sse_asgi.stream.source import Chunks, Source, SourceOpener, is_iterable

LiveSource = Source | Callable[[], Chunks | Awaitable[Chunks]]


def open_live(source: LiveSource) -> SourceOpener:
    """Return the opener of a source; a callable may take no argument.

    Raises:
        TypeError: It is no source.
    """
    if not is_iterable(source) and callable(source) and _takes_nothing(source):
        make = cast("Callable[[], Chunks | Awaitable[Chunks]]", source)
        return SourceOpener(lambda _request: make())
    return SourceOpener(cast("Source", source))


def _takes_nothing(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # it takes a Request, or does not say what it takes
        return False
    return True
