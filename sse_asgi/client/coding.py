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
        self._beginning: bytes | None = b"" if window == _ZLIB else None

    def decode(self, data: bytes) -> Iterator[bytes]:
        if self._beginning is not None:
            data = self._look_at_beginning(self._beginning + data)
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
            raise ConnectionError(f"the content coding is broken: {error}") from error
        return piece, self._object.unconsumed_tail or self._object.unused_data

    def _look_at_beginning(self, data: bytes) -> bytes:
        """Hold the data back until its first two bytes are there, then choose by them."""
        if len(data) < 2:
            self._beginning = data
            return b""
        self._beginning = None
        # Some servers send deflate without the header that it should have (RFC 9110, 8.4.1.2).
        if data[0] & 15 != 8 or int.from_bytes(data[:2]) % 31:  # RFC 1950, 2.2
            self._window = _RAW
            self._object = zlib.decompressobj(_RAW)
        return data
