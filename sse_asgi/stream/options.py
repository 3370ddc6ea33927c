"""The options of a stream: what they are called, what they may be, and the headers they give."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Mapping
from copy import copy
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final

from sse_asgi.asgi import Message
from sse_asgi.checks import check_int, check_seconds, check_takes, wrong_type
from sse_asgi.headers import DEFAULT_HEADERS
from sse_asgi.shutdown.shutdown import DEFAULT, Shutdown
from sse_asgi.source.request import Request
from sse_asgi.stream.failure import DescribeError
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing, check_framing

OnChunk = (
    Callable[[str], Awaitable[object] | object]
    | Callable[[str, Request], Awaitable[object] | object]
)
OnComplete = (
    Callable[[Transcript], Awaitable[object] | object]
    | Callable[[Transcript, Request], Awaitable[object] | object]
)


_HOOKS: Final = {
    "on_chunk": ("the chunk", "the Request"),
    "on_complete": ("the Transcript", "the Request"),
    "describe_error": ("the exception",),
}
_BODYLESS: Final = (204, 205, 304)
_logger = logging.getLogger("sse_asgi")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a user chose for all responses of one app.

    Raises:
        TypeError: An option has a wrong type.
        ValueError: An option has a value that cannot work.
    """

    framing: Framing
    on_chunk: OnChunk | None = None
    on_complete: OnComplete | None = None
    status: int = 200
    headers: tuple[tuple[bytes, bytes], ...] = DEFAULT_HEADERS
    heartbeat: float | None = 15.0
    send_timeout: float | None = 30.0
    cleanup_timeout: float = 5.0
    prefetch: bool | float = False
    record: bool = True
    max_body_size: int = 1_048_576
    shutdown: Shutdown | None = DEFAULT
    describe_error: DescribeError | None = None
    coalesce: float | None = None
    # Each is called with the stream, before its last message: none of a user's.
    listeners: tuple[Callable[[Any], object], ...] = ()
    _takes: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_framing(self.framing)
        self._check_hooks()
        for name in ("heartbeat", "send_timeout", "coalesce"):
            if getattr(self, name) is not None:
                check_seconds(name, getattr(self, name), "a number above 0, or None")
        if self.coalesce == inf:
            raise ValueError(
                f"coalesce must be a time that ends, in seconds, not {self.coalesce!r}"
            )
        check_seconds("cleanup_timeout", self.cleanup_timeout, "a number above 0")
        if not isinstance(self.prefetch, bool):
            check_seconds("prefetch", self.prefetch, "True, False, or a number above 0")
        if not isinstance(self.record, bool):
            raise wrong_type("record", self.record, "True or False")
        check_int("max_body_size", self.max_body_size, lowest=0)
        check_int("status", self.status, lowest=200, highest=599)
        if self.status in _BODYLESS:
            raise ValueError(f"status must be one that has a body, not {self.status}")
        if self.shutdown is not None and not isinstance(self.shutdown, Shutdown):
            raise wrong_type("shutdown", self.shutdown, "a Shutdown or None")

    def chunk_hook(self, request: Request) -> Callable[[str], object] | None:
        """Return `on_chunk` as a function of the chunk alone."""
        on_chunk: Callable[..., object] | None = self.on_chunk
        if on_chunk is None or self._takes["on_chunk"] == 1:
            return on_chunk
        return lambda chunk: on_chunk(chunk, request)

    def call_on_complete(self, transcript: Transcript, request: Request) -> object:
        """Call `on_complete`, with the request if it takes a second argument."""
        on_complete: Any = self.on_complete
        if self._takes["on_complete"] == 1:
            return on_complete(transcript)
        return on_complete(transcript, request)

    def with_start(self, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> "Options":
        """Return the same options with another start of the response, which is not checked."""
        return self._with(status=status, headers=headers)

    def with_on_complete(self, hook: Callable[[Transcript, Request], object]) -> "Options":
        """Return the same options with another hook, which calls this one's."""
        return self._with(on_complete=hook, _takes={**self._takes, "on_complete": 2})

    def heard_by(self, listener: Callable[[Any], object]) -> "Options":
        """Return the same options for a stream that tells of the end of its source."""
        return self._with(listeners=(*self.listeners, listener))

    def _with(self, **changes: object) -> "Options":
        options = copy(self)  # `dataclasses.replace` would check all of them again
        for name, value in changes.items():
            object.__setattr__(options, name, value)
        return options

    def start_message(self) -> Message:
        """Return what starts a response: a new one each time, for middleware may change it."""
        headers = list(self.headers)
        return {"type": "http.response.start", "status": self.status, "headers": headers}

    def _check_hooks(self) -> None:
        takes: dict[str, int] = {}
        for name, arguments in _HOOKS.items():
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise wrong_type(name, value, "a callable or None")
            if value is not None:
                takes[name] = check_takes(value, name, *arguments)
        object.__setattr__(self, "_takes", takes)
        if inspect.iscoroutinefunction(self.describe_error):
            raise wrong_type("describe_error", self.describe_error, "a sync function or None")
