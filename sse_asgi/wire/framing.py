"""The protocol of framings: what text and parts become on the wire, and how they are read back.

`TextFraming` and `JSONFraming`, of modules of their own, can be imported from here, too.
"""

from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, cast

from sse_asgi.errors import shown
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.json_framing import JSONFraming
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part
from sse_asgi.wire.text_framing import TextFraming

__all__ = [
    "Decode",
    "Encoder",
    "Framing",
    "Item",
    "JSONFraming",
    "TextFraming",
    "check_framing",
    "has_end",
    "items_of",
]

Item: TypeAlias = str | Part | None
"""What a client reads: text, a part, or None for the end of the stream."""

Decode: TypeAlias = Callable[[MessageEvent], Item | tuple[Item, ...]]
"""An event in, what it holds out: a tuple where it holds several items, "" where it holds none."""


class Encoder(Protocol):
    """Turn what one stream says into events. All state of the stream lives here.

    Each method returns whole encoded events, blank line included, or `b""`. None of them may raise;
    where one does, the stream fails as if its source had.
    """

    def begin(self) -> bytes:
        """Return what every stream of this kind begins with.

        Called once, before every other method; it leaves with whatever is sent first: a chunk, a
        part, the end of an empty stream, or a failure.
        """
        ...

    def text(self, chunks: list[str]) -> bytes:
        """Encode the chunks that leave together: one or more, nearly always one.

        The list is the caller's: do not keep it.
        """
        ...

    def part(self, part: Part) -> bytes:
        """Encode a part, `b""` if this kind of stream has no form for it."""
        ...

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        """Return what ends a stream that is complete, or that was `STOPPED` on request."""
        ...

    def fail(self, message: str, outcome: Outcome) -> bytes:
        """Return what tells the clients that the stream failed, timed out, or was shut down.

        Called instead of `end`. `message` is for people, and may be shown.
        """
        ...


class Framing(Protocol):
    """Define how text and parts become events, and how events become text and parts again.

    A framing holds options only and serves any number of streams at once. What one stream must
    remember lives in what `encoder` and `decoder` return.
    """

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers that clients of this kind demand; a user's header still wins."""
        ...

    def encoder(self) -> Encoder:
        """Return a fresh encoder for one stream."""
        ...

    def decoder(self) -> Decode:
        """Return a fresh function for one stream: an event in, what it holds out.

        It gives "" for an event that is nothing of its own, None for the end of the stream, and a
        tuple for an event of several items. It raises `StreamFailedError` for an event that tells
        of a failure, `IncompleteStreamError` for an end marker that comes too early, both with the
        text "", and `FramingError` for an event that only another framing sends.
        """
        ...


_MEMBERS = ("headers", "encoder", "decoder")


def check_framing(value: object) -> Framing:
    """Return a framing that is one.

    Raises:
        TypeError: It is none; a class of framings is the usual mistake.
    """
    if isinstance(value, type):
        raise TypeError(
            f"framing must be a Framing, not {shown(value)} itself: call it, {value.__qualname__}()"
        )
    missing = [name for name in _MEMBERS if not hasattr(value, name)]
    if not missing and isinstance(getattr(value, "headers", None), Mapping):
        return cast("Framing", value)
    what = f"framing must be a Framing, not {shown(value)} ({type(value).__qualname__})"
    if len(missing) == len(_MEMBERS):
        raise TypeError(f"{what}: give one, such as TextFraming()")
    if "encoder" in missing or "decoder" in missing:
        raise TypeError(f"{what}: it has no {' and no '.join(missing)}; see the class Framing")
    raise TypeError(
        f"{what}: its headers must be a mapping of header names to values, {{}} for none, "
        "and its encoder() must return an Encoder; see the class Framing"
    )


def items_of(decoded: Item | tuple[Item, ...]) -> tuple[Item, ...]:
    """Return what a decoder gave for one event as a tuple, whether it held one item or several."""
    return decoded if isinstance(decoded, tuple) else (decoded,)


def has_end(framing: Framing) -> bool:
    """Tell whether a framing's streams have an end of their own, or end with the response."""
    encoder = framing.encoder()
    encoder.begin()
    return bool(encoder.end())
