"""Which requests make an examination."""

import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias
from urllib.parse import urlsplit

from sse_asgi.cli.doctor.exchange import Exchange, Stop, observe

Evidence: TypeAlias = Mapping[str, object]
"""What was seen, by the code of the finding; what is false is none."""

_FOLLOW_UP = 5.0
"""Seconds that a second look waits for its first event, at most."""

_FIELDS = {
    "Accept": "text/event-stream",
    "Accept-Encoding": "gzip, deflate",
    "Cache-Control": "no-cache",
    "User-Agent": "sse-asgi-doctor",
}
# What needs no preflight (Fetch, "CORS-safelisted request-header"), or is the browser's own.
_SAFE_HEADERS = {"accept", "accept-language", "cache-control", "content-language", "last-event-id"}
_SAFE_METHODS = ("GET", "HEAD", "POST")
_SAFE_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


@dataclass(slots=True)
class Examination:
    """What is asked, and all that is known of the stream."""

    url: str = ""
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    content: bytes | None = field(default=None, repr=False)
    wait: float = 20.0  # seconds of silence that are too many
    origin: str | None = None  # the page's, for CORS
    done: str = "[DONE]"
    repeat: bool = False  # whether a request that may have effects may be sent twice
    first: Exchange = field(default_factory=Exchange)  # what was watched
    again: Exchange | None = None  # a reconnection after the stream had ended
    resumed: Exchange | None = None  # with the first event's id as Last-Event-ID
    plain: Exchange | None = None  # one that asked for no compression
    preflight: Exchange | None = None
    alpn: str = ""  # the protocol that the server chose when it was offered HTTP/2

    def watch(self, library: Any) -> None:  # noqa: ANN401 - httpx or httpx2
        """Watch the stream, then look again for what one connection does not tell."""
        with library.Client() as client:
            ask = partial(self._ask, partial(observe, library, client), client.build_request)
            first = self.first = ask(self.wait, one_event=False)
            ids = [event.id for event in first.events if event.id]
            follow_up = min(self.wait, _FOLLOW_UP)
            # Only a browser's EventSource reconnects by itself, and that sends GET.
            if first.method == "GET" and first.stop is Stop.ENDED and first.events:
                self.again = ask(follow_up, {"Last-Event-ID": first.events[-1].id})
            if first.method == "GET" and len(set(ids)) > 1:
                self.resumed = ask(follow_up, {"Last-Event-ID": ids[0]})
            may_repeat = self.repeat or self.method in ("GET", "HEAD")
            if first.status == 200 and "content-encoding" in first.headers and may_repeat:
                self.plain = ask(self.wait, {"Accept-Encoding": "identity"})
            if self.origin and (self.method not in _SAFE_METHODS or self.unsafe_headers):
                names = ",".join(self.unsafe_headers)
                asked = {"Access-Control-Request-Headers": names} if names else {}
                asked["Access-Control-Request-Method"] = self.method
                self.preflight = ask(follow_up, asked, preflight=True)
        self.alpn = _ask_alpn(first.url)

    def _ask(
        self,
        send: Callable[..., Exchange],
        build: Callable[..., Any],
        wait: float,
        more: Mapping[str, str] = MappingProxyType({}),
        *,
        one_event: bool = True,
        preflight: bool = False,
    ) -> Exchange:
        given = () if preflight else self.headers
        fields = {**(_FIELDS if not preflight else {}), "Origin": self.origin or "", **more}
        names = {name.lower() for name, _ in given}
        ours = [each for each in fields.items() if each[0].lower() not in names]
        headers = [(name.encode(), value.encode()) for name, value in (*given, *ours) if value]
        method, url = ("OPTIONS", self.first.url) if preflight else (self.method, self.url)
        content = None if preflight else self.content
        request = build(method, url, headers=headers, content=content, timeout=wait)
        return send(request, watch=wait, one_event=one_event)

    @property
    def unsafe_headers(self) -> list[str]:
        """The header fields that need a preflight, in lower case."""
        return sorted({name.lower() for name, value in self.headers if _is_unsafe(name, value)})

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        host = urlsplit(self.first.url).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")


def _is_unsafe(name: str, value: str) -> bool:
    if name.lower() == "content-type":
        return value.partition(";")[0].strip().lower() not in _SAFE_TYPES
    return name.lower() not in _SAFE_HEADERS


def _ask_alpn(url: str) -> str:
    """Return the protocol that an https server chooses when it is offered HTTP/2, "" if none."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return ""
    # Whom we talk to has been checked, or refused, before.
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    address = (parts.hostname, parts.port or 443)
    try:
        with (
            socket.create_connection(address, timeout=_FOLLOW_UP) as raw,
            context.wrap_socket(raw, server_hostname=parts.hostname) as connection,
        ):
            return connection.selected_alpn_protocol() or "http/1.1"
    except OSError:
        return ""
