"""The options of a stream: what they are called, what they may be, and the headers they give."""

import inspect
import logging
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field
from math import inf
from types import MappingProxyType
from typing import Any, Final, cast

from sse_asgi.asgi import Message
from sse_asgi.callables import check_takes
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
HeadersInput = Mapping[str, str] | Iterable[tuple[str, str]]

DEFAULT_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Stored nowhere; and changed by nobody on the way, so not held back to be compressed either.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx and those that follow it: pass on at once
)

_HOOKS: Final = {
    "on_chunk": ("the chunk", "the Request"),
    "on_complete": ("the Transcript", "the Request"),
    "describe_error": ("the exception",),
}
_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but HTAB: RFC 9110, 5.5
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


def make_headers(
    headers: HeadersInput | None, demanded: Mapping[str, str] = MappingProxyType({})
) -> tuple[tuple[bytes, bytes], ...]:
    """Return the response's header fields: the defaults, but for those that the user sets.

    Args:
        headers: What the user sets.
        demanded: What the framing demands; it replaces a default, and the user's replaces it.

    Raises:
        TypeError: A name or value is no string.
        ValueError: A name or value that HTTP does not allow (RFC 9110, 5.1 and 5.5), or one
            that belongs to the server alone.
    """
    own = check_headers(headers)
    names = {name for name, _ in own}
    own = [*(field for field in check_headers(demanded) if field[0] not in names), *own]
    names = {name for name, _ in own}
    return (*(field for field in DEFAULT_HEADERS if field[0] not in names), *own)


def check_headers(headers: HeadersInput | None) -> list[tuple[bytes, bytes]]:
    """Return header fields as ASGI has them.

    Raises:
        TypeError, ValueError: As `make_headers`.
    """
    if headers is None:
        return []
    pairs: Iterable[object] = headers
    if isinstance(pairs, (str, bytes)) or not isinstance(pairs, Iterable):
        raise _wrong_headers(headers)
    if isinstance(headers, Mapping):
        pairs = cast("Mapping[object, object]", headers).items()
    own: list[tuple[bytes, bytes]] = []
    for pair in pairs:
        name, value = _check_pair(pair)
        if name == b"connection":  # ends an HTTP/2 stream in some clients (RFC 9113, 8.2.2)
            _logger.warning("the header 'connection' is left out: it belongs to the server")
        else:
            own.append((name, value))
    return own


def _check_pair(pair: object) -> tuple[bytes, bytes]:
    if not isinstance(pair, (tuple, list)):
        raise _wrong_headers(pair)
    fields = cast("Sequence[object]", pair)
    name, value = fields if len(fields) == 2 else (None, None)
    if not isinstance(name, str):
        raise _wrong_headers(pair)
    if not isinstance(value, str):
        kind = type(value).__qualname__
        raise TypeError(f"headers: the value of {name!r} must be a str, not of type {kind}")
    if not _TOKEN.fullmatch(name):
        raise ValueError(f"headers: {name!r} is no header name; use letters, digits and hyphens")
    if name.lower() in ("content-length", "transfer-encoding"):
        raise ValueError(f"headers: {name!r} is set by the server; leave it out")
    if control := _CONTROL.search(value):
        raise ValueError(
            f"headers: the value of {name!r} has the control character {control[0]!r}; leave it out"
        )
    try:
        return name.lower().encode("ascii"), value.strip(" \t").encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(
            f"headers: the value of {name!r} has characters outside Latin-1; percent-encode it"
        ) from None


def check_seconds(name: str, value: object, expected: str, *, or_zero: bool = False) -> None:
    """Raise a TypeError or ValueError unless an option is a number of seconds above 0, or 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(name, value, expected + ", in seconds")
    if not (value > 0 or (or_zero and value == 0)):  # also when it is not a number
        raise ValueError(f"{name} must be {expected}, in seconds, not {value!r}")


def check_int(name: str, value: object, *, lowest: int, highest: int | None = None) -> None:
    """Raise a TypeError or ValueError unless an option is an int within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, value, "an int")
    if value < lowest or (highest is not None and value > highest):
        bounds = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be {bounds}, not {value!r}")


def _wrong_headers(value: Any) -> TypeError:  # noqa: ANN401 - whatever the user passed
    # Values of headers may be secrets, which must not end in a log: they are never shown.
    kind = type(value).__qualname__
    return TypeError(f"headers must map str to str, or be pairs of two str; found {kind}")


def wrong_type(name: str, value: Any, expected: str) -> TypeError:  # noqa: ANN401 - what it is
    """Return the error of an option that has another type."""
    return TypeError(f"{name} must be {expected}, not {value!r} ({type(value).__qualname__})")
