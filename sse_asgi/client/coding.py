"""Content codings, undone piece by piece and with bounded memory.

The HTTP libraries can do this too, but give all that a piece of the body expands to at once.
"""

import zlib
from collections.abc import Callable, Iterator
from typing import TypeAlias

ACCEPTED = "gzip, deflate"
"""The value of `Accept-Encoding`."""

LARGEST_PIECE = 1_048_576
"""Bytes that are expanded at a time."""

Decode: TypeAlias = Callable[[bytes], Iterator[bytes]]

_GZIP, _ZLIB, _RAW = 31, 15, -15  # what zlib calls wbits


def make_decoder(coding: str) -> Decode | None:
    """Return a function that undoes a content coding, None for an unknown one.

    The function raises a `ConnectionError` for data that is broken.

    Args:
        coding: The value of `Content-Encoding`.
    """
    name = coding.strip().lower()
    if name in ("", "identity"):
        return _pass_on
    if name in ("gzip", "x-gzip"):
        return _Inflate(_GZIP).decode
    return _Inflate(_ZLIB).decode if name == "deflate" else None


def _pass_on(data: bytes) -> Iterator[bytes]:
    yield data


class _Inflate:
    def __init__(self, window: int) -> None:
        self._window = window
        self._object = zlib.decompressobj(window)
        self._begun = False

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            piece, data = self._inflate(data)
            if piece:
                yield piece

    def _inflate(self, data: bytes) -> tuple[bytes, bytes]:
        """Return a piece of what data expands to, and the data that is left."""
        if self._object.eof:  # gzip may have several members
            self._object = zlib.decompressobj(self._window)
        try:
            piece = self._object.decompress(data, LARGEST_PIECE)
        except zlib.error as error:
            if self._window == _ZLIB and not self._begun:
                return self._start_raw(data)
            raise ConnectionError(f"the content coding is broken: {error}") from error
        self._begun = True
        return piece, self._object.unconsumed_tail or self._object.unused_data

    def _start_raw(self, data: bytes) -> tuple[bytes, bytes]:
        # Some servers send deflate without the header that it should have (RFC 9110, 8.4.1.2).
        self._window = _RAW
        self._object = zlib.decompressobj(_RAW)
        return b"", data
