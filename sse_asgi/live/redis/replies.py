"""Commands and replies as bytes (RESP2): hiredis if it is there, or else the same in Python."""

from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

Command = Sequence[str | bytes | int]

_hiredis: ModuleType | None
try:
    _hiredis = import_module("hiredis")
except ImportError:  # some platforms have none
    _hiredis = None


class ReplyError(Exception):
    """The server answered with an error."""


class ProtocolError(Exception):
    """What came is no reply."""


class Reader(Protocol):
    """Cuts what comes into replies."""

    def feed(self, data: bytes) -> None:
        """Add what came."""

    def gets(self) -> Any:  # noqa: ANN401 - whatever a reply may be
        """Return the next reply, or False if it is not complete."""


def open_reader() -> Reader:
    """Return a reader for one connection."""
    if _hiredis is None:
        return PythonReader()
    reader: Reader = _hiredis.Reader(protocolError=ProtocolError, replyError=ReplyError)
    return reader


def pack(command: Command) -> bytes:
    """Return a command as it is sent."""
    if _hiredis is not None:
        packed: bytes = _hiredis.pack_command(tuple(command))
        return packed
    parts = [b"*%d\r\n" % len(command)]
    for argument in command:
        if isinstance(argument, str):
            encoded = argument.encode()
        else:
            encoded = argument if isinstance(argument, bytes) else b"%d" % argument
        parts.append(b"$%d\r\n%b\r\n" % (len(encoded), encoded))
    return b"".join(parts)


class _IncompleteError(Exception):
    """There is more to come."""


class PythonReader:
    """Reads replies without hiredis."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes) -> None:
        """Add what came."""
        del self._buffer[: self._at]
        self._at = 0
        self._buffer += data

    def gets(self) -> Any:  # noqa: ANN401 - whatever a reply may be
        """Return the next reply, or False if it is not complete."""
        start = self._at
        try:
            return self._read()
        except _IncompleteError:
            self._at = start
            return False

    def _read(self) -> Any:  # noqa: ANN401 - as above
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if rest == b"-1" else self._string(int(rest))
        if kind == b"*":
            return None if rest == b"-1" else [self._read() for _ in range(int(rest))]
        if kind == b"+":
            return rest
        if kind == b"-":
            return ReplyError(rest.decode(errors="replace"))
        raise ProtocolError(f"a line that begins with {kind!r}")

    def _line(self) -> bytes:
        end = self._buffer.find(b"\r\n", self._at)
        if end < 0:
            raise _IncompleteError
        line = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return line

    def _string(self, length: int) -> bytes:
        end = self._at + length
        if end + 2 > len(self._buffer):
            raise _IncompleteError
        string = bytes(self._buffer[self._at : end])
        self._at = end + 2
        return string
