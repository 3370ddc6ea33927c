"""The load: many plain sockets read by one epoll loop, which counts bytes and decodes nothing."""

import re
import select
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

READ_SIZE = 1 << 18
FIELD = b"data:"
FIELD_OVERLAP = len(FIELD) - 1
END = b"\r\n0\r\n\r\n"  # the last chunk of a chunked body
TAIL = len(END)
STAMP = re.compile(rb'data: ?"?(\d+)["\r\n]')


class LoadError(Exception):
    """A server answered with something else than an event stream."""


class Reader:
    """One connection: how much came, seen over the edges of reads.

    `buffer` is shared by all readers of a load; only `tail` is kept between reads.
    """

    __slots__ = ("ended", "events", "started", "tail", "wire")

    def __init__(self, wire: socket.socket) -> None:
        self.wire = wire
        self.restart()

    def restart(self) -> None:
        """Expect a new response."""
        self.tail = b""
        self.events = 0
        self.started = self.ended = False

    def read(self, buffer: bytearray) -> tuple[int, int]:
        """Read once into `buffer`; return the span that holds new bytes and the tail."""
        before = len(self.tail)
        buffer[:before] = self.tail
        received = self.wire.recv_into(memoryview(buffer)[before:])
        if not received:
            raise LoadError("the server closed the connection")
        end = before + received
        if not self.started:
            self.check_status(buffer, end)
        # A whole field may lie within the tail: it has been counted.
        self.events += buffer.count(FIELD, max(0, before - FIELD_OVERLAP), end)
        self.ended = buffer.endswith(END, 0, end)
        self.tail = bytes(buffer[max(0, end - TAIL) : end])
        return before, end

    def check_status(self, buffer: bytearray, end: int) -> None:
        if not buffer.startswith(b"HTTP/1.1 200"):
            raise LoadError(f"the server answered {bytes(buffer[: min(end, 200)])!r}")
        self.started = True


@dataclass
class Load:
    """Context manager: connections to any servers of this machine, all read by one loop."""

    readers: dict[int, Reader] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self.poll = select.epoll()
        self.buffer = bytearray(READ_SIZE)
        self.cpu_before = time.process_time()
        self.wall_before = time.monotonic()
        return self

    def __exit__(self, *error: object) -> None:
        for reader in self.readers.values():
            reader.wire.close()
        self.poll.close()

    def connect(self, port: int) -> Reader:
        wire = socket.create_connection(("127.0.0.1", port), timeout=30)
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        reader = self.readers[wire.fileno()] = Reader(wire)
        self.poll.register(wire.fileno(), select.EPOLLIN)
        return reader

    def request(self, reader: Reader, path: str) -> None:
        reader.restart()
        reader.wire.sendall(f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode())

    def open(self, port: int, path: str, streams: int) -> list[Reader]:
        """Open streams, a batch at a time so that no accept queue overflows."""
        readers = [self.connect(port) for _ in range(streams)]
        for start in range(0, streams, 100):
            batch = readers[start : start + 100]
            for reader in batch:
                self.request(reader, path)
            self.pump_until(lambda batch=batch: all(reader.started for reader in batch))
        return readers

    def close(self, reader: Reader) -> None:
        """Close one connection, as a client that leaves does."""
        self.poll.unregister(reader.wire.fileno())
        del self.readers[reader.wire.fileno()]
        reader.wire.close()

    def read(self, timeout: float) -> list[Reader]:
        """Read once from each connection that has something; return those."""
        ready = [self.readers[descriptor] for descriptor, _ in self.poll.poll(max(0.0, timeout))]
        for reader in ready:
            reader.read(self.buffer)
        return ready

    def pump(self, seconds: float) -> None:
        """Read what comes for `seconds`."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.read(left)

    def pump_until(self, condition: Callable[[], bool], timeout: float = 30.0) -> None:
        """Read what comes until `condition()` holds.

        Raises:
            LoadError: After `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise LoadError(f"streams did not open or end within {timeout} s")
            self.read(0.1)

    def pump_stamped(self, seconds: float) -> list[int]:
        """Read for `seconds`; return how long each stamped chunk was under way, in ns."""
        delays: list[int] = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for descriptor, _ in self.poll.poll(left):
                start, end = self.readers[descriptor].read(self.buffer)
                now = time.monotonic_ns()
                stamps = STAMP.findall(self.buffer, start, end)
                delays.extend([now - int(stamp) for stamp in stamps])
        return delays

    def repeat(self, readers: list[Reader], path: str, seconds: float, *, events: int) -> int:
        """Ask for `path` on each connection, again whenever its response ended.

        After `seconds` nothing more is asked for, and what is under way is read to its end.

        Returns:
            The number of responses.

        Raises:
            LoadError: If a response held fewer than `events` events.
        """
        for reader in readers:
            self.request(reader, path)
        responses, open_ones = 0, len(readers)
        deadline = time.monotonic() + seconds
        while open_ones:
            for reader in self.read(5.0) or self.stuck(path):
                if not reader.ended:
                    continue
                if reader.events < events:
                    raise LoadError(f"{path}: {reader.events} events, not {events}")
                responses += 1
                if time.monotonic() < deadline:
                    self.request(reader, path)
                else:
                    open_ones -= 1
        return responses

    def stuck(self, path: str) -> list[Reader]:
        raise LoadError(f"{path}: nothing came for 5 s")

    def repeat_anew(self, port: int, path: str, seconds: float, *, connections: int) -> int:
        """Like `repeat`, on a new connection for each response."""
        for _ in range(connections):
            self.request(self.connect(port), path)
        responses, open_ones = 0, connections
        deadline = time.monotonic() + seconds
        while open_ones:
            for reader in self.read(5.0) or self.stuck(path):
                if not reader.ended:
                    continue
                responses += 1
                self.close(reader)
                if time.monotonic() < deadline:
                    self.request(self.connect(port), path)
                else:
                    open_ones -= 1
        return responses

    def busy(self) -> float:
        """Return the share of its core that the load itself has used."""
        wall = time.monotonic() - self.wall_before
        return (time.process_time() - self.cpu_before) / wall if wall else 0.0
