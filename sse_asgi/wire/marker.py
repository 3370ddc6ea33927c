"""The end marker of the framings of plain text: the data of the event that ends a stream."""

from functools import lru_cache

from sse_asgi.errors import shown
from sse_asgi.wire.events import encode_data, well_formed


def check_marker(done: object) -> None:
    """Raise a TypeError or ValueError unless this can be an event's data, and arrive unchanged."""
    if done is None:
        return
    if not isinstance(done, str):
        raise TypeError(
            f"done must be a str or None, not {shown(done)} ({type(done).__name__}): "
            "give the end marker's text, or None for no end event"
        )
    if "\r" in done or "\n" in done:
        raise ValueError(
            f"done must not have CR or LF, as {shown(done)} has: it is one line; remove them"
        )
    if well_formed(done) != done:
        raise ValueError(
            f"done must not have a lone surrogate, as {shown(done)} has: UTF-8 cannot carry it; "
            "take another marker"
        )


@lru_cache
def encode_marker(done: str | None) -> bytes:
    """Return the event whose data is the marker, `b""` without one."""
    return b"" if done is None else encode_data(done)
