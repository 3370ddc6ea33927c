"""What reads the events of one kind of upstream, and what all of them share."""

from collections.abc import Iterable
from typing import Any, Final, Protocol, TypeAlias

from sse_asgi.errors import UpstreamFailedError, UpstreamTruncatedError
from sse_asgi.wire.parts import Part, ToolCall

Item: TypeAlias = str | Part

SDKObject: TypeAlias = Any
"""A stream or an event of a package that is not imported: it is read by its attributes."""


class Reader(Protocol):
    """Turns the events of one stream into text and parts. It keeps the stream's state."""

    def events(self, stream: SDKObject) -> SDKObject:
        """Return what gives the events of an open stream: an async iterable, or a sync one."""
        ...

    def read(self, event: SDKObject) -> Iterable[Item]:
        """Return what one event says.

        Raises:
            TypeError: It is no event of such a stream.
        """
        ...

    def end(self, stream: SDKObject) -> Iterable[Item]:
        """Return what the stream, now at its end, has said as a whole.

        Raises:
            UpstreamTruncatedError: Its terminal event has not come.
        """
        ...


CUTS: Final = ("length", "content_filter")
"""The finish reasons of an answer that was cut while the model wrote it, maybe in a call."""


class ToolCalls:
    """Checks the tool calls of one answer, each of which is passed on when it is whole.

    A model may write arguments that are no JSON. Such a call fails the stream. If the answer was
    cut, the call is unfinished, and is left out instead.
    """

    def __init__(self) -> None:
        self._broken: ValueError | None = None
        self.count = 0

    def whole(self, name: str, arguments: str, id_: str | None) -> Iterable[ToolCall]:
        """Return the call, if it can be one."""
        self.count += 1
        try:
            return (ToolCall(name, arguments, id_ or None),)
        except ValueError as error:
            self._broken = error
            return ()

    def check(self, finish_reason: str) -> None:
        """Check that the model has not failed, and that no call was lost but for a cut.

        Raises:
            UpstreamFailedError: It says so in its finish reason.
            ValueError: A call was lost.
        """
        if finish_reason == "error":
            raise UpstreamFailedError('the upstream failed: its finish reason is "error"')
        if self._broken is not None and finish_reason not in CUTS:
            raise self._broken


def truncated(what: str) -> UpstreamTruncatedError:
    """Return the error of a stream that ended without its terminal event."""
    return UpstreamTruncatedError(
        f"the upstream ended without {what}: its answer is not whole, though it looks so"
    )


def unknown_event(package: str, event: object) -> TypeError:
    """Return the error of something that is no event of the stream."""
    return TypeError(
        f"the stream gave a value of type {type(event).__qualname__}, which is no event of "
        f"{package}'s: pass stream=True, and the stream itself"
    )
