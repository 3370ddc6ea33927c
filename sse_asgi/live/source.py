"""The sources of generations: those of streams, and callables that take no argument."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from sse_asgi.around import Attendant
from sse_asgi.source.source import Chunks, Source, SourceOpener, is_iterable

if TYPE_CHECKING:  # who uses it imports it; nobody else has to
    from sse_asgi.telemetry import Telemetry


_Source = Source | Callable[[], Chunks | Awaitable[Chunks]]


@dataclass(frozen=True, slots=True)
class Attended:
    """A source, and what attends its generation for an app such as `ChatApp`."""

    source: _Source
    place: Attendant | None = None  # which the generation holds until its end
    watch: Attendant | None = None  # measures it, instead of the `telemetry` of `Live`

    def opener(self) -> SourceOpener:
        """Return the opener of the source; a callable may take no argument."""
        source = self.source
        if callable(source) and not is_iterable(source) and _takes_nothing(source):
            make = cast("Callable[[], Chunks | Awaitable[Chunks]]", source)
            return SourceOpener(lambda _request: make())
        return SourceOpener(cast("Source", source))

    def attendants(self, telemetry: "Telemetry | None") -> list[Attendant]:
        """Return what attends the generation."""
        watch = self.watch
        if watch is None and telemetry is not None:
            watch = telemetry.of_generation()
        return [each for each in (watch, self.place) if each is not None]


LiveSource = _Source | Attended


def _takes_nothing(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):  # it takes a Request, or does not say what it takes
        return False
    return True
