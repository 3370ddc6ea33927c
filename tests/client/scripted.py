"""A server on a plain socket that answers each connection as a script says.

It does what no well-behaved server would: cut a chunked body, cut UTF-8 in two, say nothing.
"""

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

PATIENCE = 30.0  # seconds, for a busy machine
EVENT_STREAM = "text/event-stream"


@dataclass
class Request:
    """One request as it came."""

    method: str
    path: str
    headers: list[tuple[str, bytes]]
    body: bytes
    at: float

    def get(self, name):
        """Return the value of the only header of this name, None if there is none."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) < 2, f"{name} came {len(values)} times"
        return values[0] if values else None


@dataclass
class Answer:
    """How one request is answered.

    `parts` are bytes, each sent on its own; numbers, which are seconds to wait; and events, which
    are waited for. `end`: "clean" ends the body, "cut" breaks it off, "open" waits for the client
    to leave.
    """

    parts: tuple = ()
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    content_type: str | None = EVENT_STREAM
    end: str = "clean"


def stream(*parts, **options):
    return Answer(parts, **options)


def status(number, **options):
    return Answer(status=number, **{"content_type": None, **options})


def redirect(number, location):
    return Answer(status=number, headers={"location": location})


class ScriptedServer:
    """Answer the connections, one request each, in the order of the answers.

    The last answer serves all later requests as well. A callable is given the request and returns
    the answer.
    """

    def __init__(self, *answers: Answer | Callable[[Request], Answer]) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.left: list[threading.Event] = []  # by request: the client has gone
        self._changed = threading.Condition()
        self._stopped = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, *_):
        self._stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "the server hangs"

    def wait_for_requests(self, number):
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.requests) >= number, PATIENCE), (
                f"{len(self.requests)} requests came, not {number}"
            )

    def wait_until_left(self, index):
        self.wait_for_requests(index + 1)
        assert self.left[index].wait(PATIENCE), f"the client of request {index} stays"

    def _accept(self):
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._serve, args=[connection])
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection):
        with connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                request = _read_request(connection)
                if request is None:
                    return
                answer, left = self._next(request)
                self._answer(connection, answer, left)
            except OSError:
                pass

    def _next(self, request):
        with self._changed:
            number = len(self.requests)
            answer = self.answers[min(number, len(self.answers) - 1)]
            left = threading.Event()
            self.left.append(left)
            self.requests.append(request)
            self._changed.notify_all()
        return (answer if isinstance(answer, Answer) else answer(request)), left

    def _answer(self, connection, answer, left):
        headers = dict(answer.headers)
        if answer.content_type is not None:
            headers["content-type"] = answer.content_type
        headers |= {"connection": "close", "transfer-encoding": "chunked"}
        if answer.status in (204, 304):
            del headers["transfer-encoding"]
        lines = [f"HTTP/1.1 {answer.status} Status"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        if answer.status in (204, 304):
            return
        for part in answer.parts:
            if isinstance(part, bytes):
                connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
            elif isinstance(part, threading.Event):
                assert part.wait(PATIENCE)
            else:
                self._stopped.wait(part)
        if answer.end == "clean":
            connection.sendall(b"0\r\n\r\n")
        if answer.end == "open":
            self._wait_until_gone(connection, left)

    def _wait_until_gone(self, connection, left):
        connection.settimeout(0.01)
        while not self._stopped.is_set():
            try:
                if not connection.recv(1024):
                    left.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                left.set()
                return


def _read_request(connection):
    file = connection.makefile("rb")
    line = file.readline()
    if not line:
        return None
    method, path, _ = line.decode("latin-1").split(" ", 2)
    headers = []
    while line := file.readline().rstrip(b"\r\n"):
        name, _, value = line.partition(b":")
        headers.append((name.decode().lower(), value.strip()))
    length = int(dict(headers).get("content-length", 0))
    return Request(method, path, headers, file.read(length) if length else b"", time.monotonic())
