"""Which requests make an examination."""

import ipaddress
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from sse_asgi.cli.doctor.observation import Examination, Exchange, Record, Stop
from sse_asgi.cli.doctor.probe import Limits, Probe
from sse_asgi.cli.doctor.reading import read_records
from sse_asgi.client.request import AnyClient, EventStreamRequest, make_client

FOLLOW_UP = 5.0
"""Seconds that a second look waits for its first event, at most."""

# What needs no preflight (Fetch, "CORS-safelisted request-header"), or is the browser's own.
_SAFE_HEADERS = {"accept", "accept-language", "cache-control", "content-language", "last-event-id"}
_SAFE_TYPES = ("application/x-www-form-urlencoded", "multipart/form-data", "text/plain")


@dataclass(frozen=True, slots=True)
class Settings:
    """What to examine, and how."""

    url: str
    method: str = "GET"
    headers: Sequence[tuple[str, str]] = ()
    content: bytes | None = field(default=None, repr=False)
    wait: float = 20.0
    origin: str | None = None
    done: str = "[DONE]"


async def examine(settings: Settings) -> Examination:
    """Watch the stream, then look again for what one connection does not tell."""
    client = make_client("AsyncClient")
    try:
        return await _Doctor(client, settings).examine()
    finally:
        with anyio.CancelScope(shield=True):
            await client.aclose()


class _Doctor:
    def __init__(self, client: AnyClient, settings: Settings) -> None:
        self._client = client
        self._settings = settings

    async def examine(self) -> Examination:
        wait = self._settings.wait
        first = await self._probe(Limits(silence=wait, watch=wait))
        records = read_records(first.arrivals)
        again = await self._reconnect(first, records)
        resumed = await self._resume(first, records)
        return Examination(
            first=first,
            records=records,
            wait=wait,
            origin=self._settings.origin,
            done=self._settings.done,
            again=again,
            again_records=read_records(again.arrivals) if again else (),
            resumed=resumed,
            resumed_records=read_records(resumed.arrivals) if resumed else (),
            plain=await self._ask_plain(first),
            preflight=await self._preflight(first),
            asked_headers=self._unsafe_headers(),
            alpn=await anyio.to_thread.run_sync(_ask_alpn, first.url, abandon_on_cancel=True),
        )

    async def _probe(
        self, limits: Limits, *, last_event_id: str = "", coding: str = "gzip, deflate"
    ) -> Exchange:
        settings = self._settings
        given = {name.lower() for name, _ in settings.headers}
        headers = list(settings.headers)
        if "accept-encoding" not in given:
            headers.append(("Accept-Encoding", coding))
        if settings.origin:
            headers.append(("Origin", settings.origin))
        request = EventStreamRequest(
            self._client,
            settings.url,
            method=settings.method,
            headers=headers,
            content=settings.content,
        )
        return await Probe(self._client, request, limits).run(last_event_id=last_event_id)

    def _second_look(self) -> Limits:
        wait = min(self._settings.wait, FOLLOW_UP)
        return Limits(silence=wait, watch=wait, until=_has_event)

    async def _reconnect(self, first: Exchange, records: Sequence[Record]) -> Exchange | None:
        # Only a browser's EventSource reconnects by itself, and that sends GET.
        events = [record for record in records if not record.comment]
        if first.method != "GET" or first.stop is not Stop.ENDED or not events:
            return None
        return await self._probe(self._second_look(), last_event_id=events[-1].id)

    async def _resume(self, first: Exchange, records: Sequence[Record]) -> Exchange | None:
        ids = [record.id for record in records if record.id]
        if first.method != "GET" or len(set(ids)) < 2:
            return None
        return await self._probe(self._second_look(), last_event_id=ids[0])

    async def _ask_plain(self, first: Exchange) -> Exchange | None:
        if first.status != 200 or not first.has("content-encoding"):
            return None
        limits = Limits(silence=self._settings.wait, watch=self._settings.wait, until=_has_event)
        return await self._probe(limits, coding="identity")

    async def _preflight(self, first: Exchange) -> Exchange | None:
        settings = self._settings
        unsafe = self._unsafe_headers()
        if not settings.origin or (settings.method in ("GET", "HEAD", "POST") and not unsafe):
            return None
        headers = [("Origin", settings.origin), ("Access-Control-Request-Method", settings.method)]
        if unsafe:
            headers.append(("Access-Control-Request-Headers", ",".join(unsafe)))
        request = EventStreamRequest(self._client, first.url, method="OPTIONS", headers=headers)
        return await Probe(self._client, request, self._second_look()).run()

    def _unsafe_headers(self) -> list[str]:
        fields = self._settings.headers
        return sorted({name.lower() for name, value in fields if _is_unsafe(name, value)})


def _has_event(exchange: Exchange) -> bool:
    return any(not record.comment for record in read_records(exchange.arrivals))


def _is_unsafe(name: str, value: str) -> bool:
    if name.lower() == "content-type":
        return value.partition(";")[0].strip().lower() not in _SAFE_TYPES
    return name.lower() not in _SAFE_HEADERS


def is_local(url: str) -> bool:
    """Tell whether a URL's host is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _ask_alpn(url: str) -> str:
    """Return the protocol that an https server chooses when it is offered HTTP/2, "" if none."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname:
        return ""
    context = ssl.create_default_context()
    context.check_hostname = False  # whom we talk to has been checked, or refused, before
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        with (
            socket.create_connection((parts.hostname, parts.port or 443), timeout=FOLLOW_UP) as raw,
            context.wrap_socket(raw, server_hostname=parts.hostname) as connection,
        ):
            return connection.selected_alpn_protocol() or "http/1.1"
    except OSError:
        return ""
