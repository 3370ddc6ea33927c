"""The header fields of an event stream: the defaults, those of users, and those that apps lack."""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, cast

from sse_asgi.asgi import Message, Send

HeadersInput = Mapping[str, str] | Iterable[tuple[str, str]]

DEFAULT_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    # Stored nowhere; and changed by nobody on the way, so not held back to be compressed either.
    (b"cache-control", b"no-store, no-transform"),
    (b"x-accel-buffering", b"no"),  # nginx and those that follow it: pass on at once
)

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")  # RFC 9110, 5.6.2
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")  # all but HTAB: RFC 9110, 5.5
_logger = logging.getLogger("sse_asgi")


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


def _wrong_headers(value: Any) -> TypeError:  # noqa: ANN401 - whatever the user passed
    # Values of headers may be secrets, which must not end in a log: they are never shown.
    kind = type(value).__qualname__
    return TypeError(f"headers must map str to str, or be pairs of two str; found {kind}")


def completing_headers(send: Send) -> Send:
    """Return a `send` that gives an event stream's headers what it needs, and no more."""

    async def send_completed(message: Message) -> None:
        await send(completed(message) if begins_event_stream(message) else message)

    return send_completed


def begins_event_stream(message: Message) -> bool:
    """Tell whether a message of ASGI starts the response of an event stream."""
    if message["type"] != "http.response.start":
        return False
    for name, value in message.get("headers", ()):
        if bytes(name).lower() == b"content-type":
            return bytes(value).partition(b";")[0].strip().lower() == b"text/event-stream"
    return False


def completed(message: Message) -> Message:
    """Return the start of an event stream with the header fields that this needs.

    A length would be wrong with the first keep-alive; `connection` belongs to the server.
    """
    fields = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
    kept = [field for field in fields if field[0] not in (b"connection", b"content-length")]
    names = {name for name, _ in kept}
    kept += [field for field in reversed(DEFAULT_HEADERS) if field[0] not in names]
    rules = [number for number, (name, _) in enumerate(kept) if name == b"cache-control"]
    if not any(b"no-transform" in kept[number][1].lower() for number in rules):
        kept[rules[-1]] = (b"cache-control", kept[rules[-1]][1] + b", no-transform")
    return {**message, "headers": kept}
