"""The request, as a source sees it: what the scope says, and a body that comes in meanwhile."""

import json
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn
from urllib.parse import parse_qsl

import anyio
import anyio.lowlevel

from sse_asgi.asgi import Message, Scope
from sse_asgi.errors import RequestTooLargeError

BODY_TIMEOUT: Final = 5.0
"""Seconds that the first part of a body may take to come, once it is asked for."""

CONTINUE_TIMEOUT: Final = 1.0
"""Seconds that a client may take to send a body once it is asked for it; then the stream starts."""


class Headers(Mapping[str, str]):
    """A request's header fields; names compare without regard to case (RFC 9110, 5.1).

    The values of a field that came more than once are joined by a comma (5.3).
    """

    __slots__ = ("_fields",)

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        self._fields: dict[str, str] = {}
        for raw_name, raw_value in raw:
            name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
            if name in self._fields:
                value = self._fields[name] + ("; " if name == "cookie" else ", ") + value
            self._fields[name] = value

    def __getitem__(self, name: str) -> str:
        return self._fields[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)

    def __repr__(self) -> str:
        return f"Headers({sorted(self._fields)})"  # names only: values may be secrets


class Request:
    """One HTTP request, passed to a source that is a callable.

    The stream reads the server's messages all the time, to see the client leave, and stores
    the body here. So `body()`, `json()` and `receive()` work at any time, in any order, also
    inside a running generator.

    Attributes:
        scope: The ASGI scope of the connection.
        max_body_size: The largest body, in bytes, that is kept.
        complete: Whether the whole body has come.
    """

    __slots__ = ("_changed", "_gone", "_parts", "_position", "_size", "complete",
                 "max_body_size", "scope")  # fmt: skip

    def __init__(self, scope: Scope, *, max_body_size: int = 1_048_576) -> None:
        self.scope: Scope = scope
        self.max_body_size: int = max_body_size
        self.complete: bool = False
        self._parts: list[bytes] = []
        self._position = self._size = 0  # of the parts that `receive` has given; of the body
        self._gone = False
        self._changed: anyio.Event | None = None

    if not TYPE_CHECKING:  # a checker knows the attributes

        def __getattr__(self, name: str) -> NoReturn:
            raise AttributeError(
                f"a Request of sse_asgi has no {name!r}: your framework's own may, such as "
                "starlette.requests.Request(request.scope, request.receive)",
                name=name,
                obj=self,
            )

    @property
    def method(self) -> str:
        """The request method, in upper case."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path of the scope, decoded."""
        return str(self.scope["path"])

    @property
    def headers(self) -> Headers:
        """The header fields."""
        return Headers(self.scope["headers"])

    @property
    def query_params(self) -> dict[str, str]:
        """The parameters of the query; of a name that came twice, the last value."""
        query = self.scope.get("query_string", b"")
        return dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))

    @property
    def path_params(self) -> dict[str, Any]:
        """The parameters that the framework's router found in the path, if it has one."""
        return dict(self.scope.get("path_params") or {})

    @property
    def expects_continue(self) -> bool:
        """Whether the client holds its body back until it is asked for it (RFC 9110, 10.1.1)."""
        return any(name == b"expect" for name, _ in self.scope["headers"])

    async def body(self) -> bytes:
        """Wait for the whole body and return it.

        Raises:
            RuntimeError: None of it has come within 5 s. A framework that has read the body,
                as FastAPI does for an endpoint that declares one, leaves none for a source.
            RequestTooLargeError: It is larger than `max_body_size`.
        """
        self._check_size()
        while not self.complete:
            await self._next_part()
            self._check_size()
        return b"".join(self._parts)

    async def json(self) -> Any:  # noqa: ANN401 - JSON is whatever the client sent
        """Wait for the whole body and return what it holds as JSON.

        Raises:
            RuntimeError, RequestTooLargeError: As `body`.
            ValueError: It is no JSON.
        """
        return json.loads(await self.body())

    async def receive(self) -> Message:
        """Return the next ASGI message: the body piece by piece, then the disconnect.

        Pass it with `scope` to any framework's own request class:
        `starlette.requests.Request(request.scope, request.receive)`.

        Raises:
            RequestTooLargeError: The body is larger than `max_body_size`.
        """
        while True:
            self._check_size()
            if self._position < len(self._parts):
                part = self._parts[self._position]
                self._position += 1
                more = not self.complete or self._position < len(self._parts)
                return {"type": "http.request", "body": part, "more_body": more}
            if self._gone:
                return {"type": "http.disconnect"}
            await self._next_change()

    async def have_body_asked_for(self) -> None:
        """Let the server ask for a body that its client holds back: after the start none does.

        The server asks when the watcher first calls `receive`. Some do so in a thread of their own,
        maybe too late; so if the source waits for the body, its first bytes are waited for here.
        """
        await anyio.lowlevel.checkpoint()
        if self._changed is not None:  # the source waits
            with anyio.move_on_after(CONTINUE_TIMEOUT):
                while not (self._size or self.complete or self._gone):
                    await self._next_change()

    def feed(self, message: Message) -> None:
        """Take in one message from the server."""
        if message["type"] == "http.request" and not self.complete:
            part = message.get("body", b"")
            self._size += len(part)
            self.complete = not message.get("more_body", False)
            if self._size > self.max_body_size:
                self._parts.clear()
            elif part or self.complete:
                self._parts.append(part)
        elif message["type"] == "http.disconnect":
            self._gone = True
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    async def _next_part(self) -> None:
        """Wait for more of the body; a body that somebody else has read will never come."""
        with anyio.move_on_after(math.inf if self._size else BODY_TIMEOUT):
            await self._next_change()
            return
        raise RuntimeError(
            f"no body has come within {BODY_TIMEOUT:g} s: the framework has probably read it; "
            "read it there, and give the source what it needs of it"
        )

    async def _next_change(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _check_size(self) -> None:
        if self._size > self.max_body_size:
            raise RequestTooLargeError(
                f"the request's body is larger than {self.max_body_size} bytes; "
                "raise max_body_size if that is expected"
            )
