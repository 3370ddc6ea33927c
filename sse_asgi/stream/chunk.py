"""Encodes the events that a source yields, and refuses whatever is no chunk."""

from collections.abc import AsyncIterable, Awaitable, Iterable, Mapping
from typing import Final

from sse_asgi.wire.events import ServerSentEvent

_REMEDIES: Final[tuple[tuple[tuple[type, ...], str], ...]] = (
    ((bytes, bytearray, memoryview), ": yield text, not frames; the framing encodes it"),
    (
        (Mapping, list, tuple),
        ": encode it with json.dumps, or name its fields in a ServerSentEvent",
    ),
    ((AsyncIterable, Iterable), ": yield what it holds, one by one"),
    ((Awaitable,), ": await it first"),
)
"""What is yielded by mistake, and what to do; the first that fits counts."""


class EncodedEvents:
    """Whole events that are encoded already: a chunk of sources inside of this package only.

    Attributes:
        data: The events, which go out as they are.
    """

    __slots__ = ("data",)

    def __init__(self, data: bytes) -> None:
        self.data: bytes = data


def encode_event(chunk: object) -> bytes:
    """Return the bytes of an event, which goes out as it is.

    Raises:
        TypeError: It is no event, so it is nothing that a source may yield.
    """
    if isinstance(chunk, EncodedEvents):
        return chunk.data
    if isinstance(chunk, ServerSentEvent):
        return chunk.encode()
    raise TypeError(
        f"the source yielded {type(chunk).__qualname__}; a chunk is a str, a part such as "
        f"Reasoning, a ServerSentEvent or None{_remedy(chunk)}"
    )


def _remedy(chunk: object) -> str:
    kind = type(chunk)
    if kind.__name__ == "ServerSentEvent":  # sse-starlette, FastAPI and Litestar have one each
        library = kind.__module__.partition(".")[0]
        return f": this one is of {library}; import ServerSentEvent from sse_asgi"
    if hasattr(chunk, "model_dump_json"):  # pydantic's models are iterable, too
        return ": yield its model_dump_json()"
    for kinds, remedy in _REMEDIES:
        if isinstance(chunk, kinds):
            return remedy
    return ": yield str() of it, if that is what clients are to read"
