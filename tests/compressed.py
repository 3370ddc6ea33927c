"""Reading a compressed stream as its client does: each message by itself."""

import zlib
from importlib import import_module

import pytest


def _find_zstd():
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return import_module(name)
        except ImportError:
            pass
    return None


CODINGS = ("zstd", "gzip") if _find_zstd() else ("gzip",)
"""The codings that there are here."""


def zstd():
    """Return the module of zstd, which Python has from 3.14 on."""
    return _find_zstd() or pytest.skip("needs zstd: Python 3.14 or backports.zstd")


def decompressor(coding):
    """Return a function that undoes a coding, message by message."""
    if coding == "gzip":
        return zlib.decompressobj(31).decompress
    return zstd().ZstdDecompressor().decompress


def bodies_of(messages, coding):
    """Return what each message of a body holds, by itself."""
    undo = decompressor(coding)
    return [undo(body) if (body := message["body"]) else b"" for message in messages]
