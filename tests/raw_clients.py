"""HTTP clients on plain sockets, which can do what a real client's library never would.

They read bytes as they arrive and against deadlines, stop reading with a small receive
buffer, and leave in more than one way.
"""

import contextlib
import json as jsonlib
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, Self

import h2.config
import h2.connection
import h2.errors
import h2.events
import h11

from tests.report import PATIENCE

HOST = "127.0.0.1"
GOAWAY = 7  # the type of that frame (RFC 9113, 6.8)


class Client:
    """One connection with one request at a time; the subclasses speak HTTP/1.1 and HTTP/2."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self._forget_response()
        self.keep_body = True
        self.socket = socket.socket()
        if receive_buffer is not None:  # before the connection is made, or it has no effect
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.settimeout(5.0)
            self.socket.connect((HOST, port))
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            self.socket.close()
            raise

    def _forget_response(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.ended = False
        self.truncated = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def request(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        json: Any = None,
    ) -> None:
        """Send one whole request."""
        sent = {"host": HOST, "accept": "text/event-stream", **(headers or {})}
        content = b"" if json is None else jsonlib.dumps(json).encode()
        if content:
            sent |= {"content-type": "application/json", "content-length": str(len(content))}
        self._send_request(method, path, sent, content)

    def request_again(self, path: str, **request: Any) -> None:
        """Send a further request on the same connection, once the response before has ended."""
        self._forget_response()
        self._begin_again()
        self.request(path, **request)

    @property
    def says_close(self) -> bool:
        """Whether the server has said that it closes the connection after this response."""
        return self.headers.get("connection", "").lower() == "close"

    def read_status(self, *, within: float = PATIENCE) -> int:
        """Wait for the response's status and headers."""
        self._read(lambda: self.status is not None, within, "the response's headers")
        assert self.status is not None
        return self.status

    def read_until(self, marker: bytes, *, within: float = PATIENCE) -> bytearray:
        """Wait until the body holds `marker`; return the body so far."""
        self._read(lambda: marker in self.body, within, repr(marker))
        return self.body

    def read_all(self, *, within: float = PATIENCE) -> bytearray:
        """Wait for the end of the body; a body that is cut off is an AssertionError."""
        self._read(lambda: self.ended, within, "the end of the body")
        assert not self.truncated, f"the body was cut off: {self.body[-200:]!r}"
        return self.body

    def read_for(self, seconds: float) -> bytearray:
        """Read whatever comes in this time; return the body so far."""
        deadline = time.monotonic() + seconds
        while not self.ended and (left := deadline - time.monotonic()) > 0:
            self._receive_once(left)
        return self.body

    def stay(self, seconds: float) -> None:
        """Read on for so long after the response: a server may ask whether the client is there."""
        self.socket.settimeout(seconds)
        with contextlib.suppress(TimeoutError, ConnectionError):
            if data := self.socket.recv(65536):
                self._take(data)

    def leave(self, how: str = "close") -> float:
        """Go away, and return the moment; `close` sends FIN and `reset` breaks off."""
        at = time.monotonic()
        if how == "reset":
            self._reset()
        else:
            self.socket.close()
        return at

    def _read(self, done: Callable[[], bool], within: float, what: str) -> None:
        deadline = time.monotonic() + within
        while not done():
            assert not self.ended, f"the body ended before {what}: {self.body[-200:]!r}"
            left = deadline - time.monotonic()
            assert left > 0, f"{what} did not come within {within} s: {self.body[-200:]!r}"
            self._receive_once(left)

    def _receive_once(self, within: float) -> None:
        self.socket.settimeout(max(within, 0.001))
        try:
            data = self.socket.recv(65536)
        except TimeoutError:
            return
        except ConnectionError:
            data = b""
        self._take(data)

    def _add(self, data: bytes | bytearray) -> None:
        if self.keep_body:
            self.body += data

    def _finish(self, *, truncated: bool = False) -> None:
        self.ended, self.truncated = True, truncated

    def _send_request(
        self, method: str, path: str, headers: dict[str, str], content: bytes
    ) -> None:
        raise NotImplementedError

    def _begin_again(self) -> None:
        raise NotImplementedError

    def _take(self, data: bytes) -> None:
        raise NotImplementedError

    def _reset(self) -> None:
        raise NotImplementedError


class Http1(Client):
    """HTTP/1.1; to reset is to answer whatever still comes with RST."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        super().__init__(port, receive_buffer=receive_buffer)
        self._http = h11.Connection(h11.CLIENT)

    def _send_request(
        self, method: str, path: str, headers: dict[str, str], content: bytes
    ) -> None:
        request = h11.Request(method=method, target=path, headers=list(headers.items()))
        parts = [request, *([h11.Data(data=content)] if content else []), h11.EndOfMessage()]
        self.socket.sendall(b"".join(self._http.send(part) or b"" for part in parts))

    def _begin_again(self) -> None:
        self._http.start_next_cycle()

    def _take(self, data: bytes) -> None:
        try:
            self._http.receive_data(data)
            while not self.ended and self._next():
                pass
        except h11.RemoteProtocolError:
            self._finish(truncated=True)

    def _next(self) -> bool:
        event = self._http.next_event()
        if isinstance(event, h11.Response):
            self.status = event.status_code
            self.headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            self._add(event.data)
        elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
            self._finish(truncated=isinstance(event, h11.ConnectionClosed))
        return event is not h11.NEED_DATA

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()


class Http2(Client):
    """HTTP/2 with prior knowledge; to reset is to reset the stream and keep the connection."""

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        super().__init__(port, receive_buffer=receive_buffer)
        config = h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        self._http = h2.connection.H2Connection(config)
        self._http.initiate_connection()
        self._frames = b""
        self._stream = self._http.get_next_available_stream_id()

    def _begin_again(self) -> None:
        self._stream = self._http.get_next_available_stream_id()

    def _flush(self) -> None:
        self.socket.settimeout(5.0)
        self.socket.sendall(self._http.data_to_send())

    def _send_request(
        self, method: str, path: str, headers: dict[str, str], content: bytes
    ) -> None:
        pseudo = [(":method", method), (":scheme", "http"), (":path", path)]
        pseudo.append((":authority", headers.pop("host")))
        self._http.send_headers(self._stream, [*pseudo, *headers.items()], end_stream=not content)
        self._flush()
        while content:
            content = self._send_part(content)

    def _send_part(self, content: bytes) -> bytes:
        """Send as much as the server's window allows; return the rest."""
        size = min(
            self._http.local_flow_control_window(self._stream),
            self._http.max_outbound_frame_size,
        )
        if size:
            part, content = content[:size], content[size:]
            self._http.send_data(self._stream, part, end_stream=not content)
            self._flush()
        else:
            self._receive_once(5.0)
        return content

    def _take(self, data: bytes) -> None:
        if not data:
            return self._finish(truncated=True)
        for event in self._http.receive_data(self._without_farewells(data)):
            if not self.ended:  # else the server takes its leave of the connection
                self._handle(event)
        with_answer = self._http.data_to_send()
        if with_answer:
            self.socket.sendall(with_answer)
        return None

    def _without_farewells(self, data: bytes) -> bytes:
        """Leave out a graceful GOAWAY, after which h2 would read no more of open streams."""
        self._frames += data
        kept = b""
        while len(self._frames) >= 9:
            size = 9 + int.from_bytes(self._frames[:3])
            if len(self._frames) < size:
                break
            frame, self._frames = self._frames[:size], self._frames[size:]
            if frame[3] != GOAWAY or frame[13:17] != bytes(4):
                kept += frame
        return kept

    def _handle(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived):
            self.headers = dict(event.headers or ())
            self.status = int(self.headers.pop(":status"))
        elif isinstance(event, h2.events.DataReceived):
            self._add(event.data or b"")
            self._http.acknowledge_received_data(event.flow_controlled_length or 0, self._stream)
        elif isinstance(event, h2.events.StreamEnded):
            self._finish()
        elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
            self._finish(truncated=True)

    def _reset(self) -> None:
        self._http.reset_stream(self._stream, h2.errors.ErrorCodes.CANCEL)
        self._flush()
