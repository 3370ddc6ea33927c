"""One request of the doctor's: what comes, and when."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import anyio

from sse_asgi.cli.doctor.observation import Arrival, Exchange, Redirect, Stop
from sse_asgi.client.connections import make_decode
from sse_asgi.client.request import AnyClient, EventStreamRequest
from sse_asgi.client.response import CODINGS, lost, reason
from sse_asgi.errors import SSEError

LARGEST_BODY = 16_777_216
"""Bytes after which enough was seen."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How long to watch.

    Attributes:
        silence: Seconds without a byte that end the observation.
        watch: Seconds after which enough was seen, if the stream is not just then silent.
        until: Tells of what has arrived whether it is enough.
    """

    silence: float
    watch: float
    until: Callable[[Exchange], bool] = lambda _: False


class Probe:
    """Send a request and record what comes of it."""

    def __init__(self, client: AnyClient, request: EventStreamRequest, limits: Limits) -> None:
        self._client = client
        self._request = request
        self._limits = limits
        self._start = time.monotonic()
        self._size = 0
        self._exchange = Exchange(method=request.method, url=str(request.url))

    async def run(self, *, last_event_id: str = "") -> Exchange:
        """Return what came."""
        exchange = self._exchange
        exchange.began = time.time()
        self._start = time.monotonic()
        try:
            response = await self._send(last_event_id)
            if response is not None:
                await self._watch(response)
        except (SSEError, ValueError) as error:  # a redirect that leads nowhere, or no URL
            exchange.stop, exchange.error = Stop.NO_CONNECTION, str(error)
        except Exception as error:  # noqa: BLE001 - it is raised where it is not the network's
            lost("", error)  # raises what is not the network's
            failed = Stop.NO_CONNECTION if exchange.response_at is None else Stop.BROKEN
            exchange.stop, exchange.error = failed, reason(error)
        exchange.ended_at = self._now()
        return exchange

    def _now(self) -> float:
        return time.monotonic() - self._start

    async def _send(self, last_event_id: str) -> Any:  # noqa: ANN401 - of either library
        response: Any = None
        with anyio.move_on_after(self._limits.silence):
            self._client.event_hooks = {"response": [self._note_redirect]}
            response = await self._request.send(last_event_id)
        if response is None:
            self._exchange.stop = Stop.NO_RESPONSE
            return None
        self._note_response(response)
        return response

    async def _note_redirect(self, response: Any) -> None:  # noqa: ANN401
        if not response.has_redirect_location:
            return
        location = response.headers.get("location", "")
        redirect = Redirect(response.status_code, str(response.url), location)
        self._exchange.redirects.append(redirect)

    def _note_response(self, response: Any) -> None:  # noqa: ANN401
        exchange = self._exchange
        exchange.response_at = self._now()
        exchange.method = response.request.method
        exchange.url = str(response.url)
        exchange.status = response.status_code
        exchange.http_version = response.http_version
        exchange.headers = [(name.lower(), value) for name, value in response.headers.multi_items()]

    async def _watch(self, response: Any) -> None:  # noqa: ANN401
        # Without decoding: a content coding that holds back what it was given is to be seen.
        chunks = response.aiter_raw()
        decode = _make_decode(self._exchange.get("content-encoding"))
        try:
            while await self._read(chunks, decode):
                pass
        finally:
            with anyio.CancelScope(shield=True):
                await response.aclose()

    async def _read(self, chunks: AsyncIterator[bytes], decode: Callable[[bytes], bytes]) -> bool:
        """Read once, and tell whether to go on."""
        exchange = self._exchange
        chunk: bytes | None = None
        with anyio.move_on_after(self._limits.silence) as scope:
            chunk = await anext(chunks, None)
        if chunk is None:
            exchange.stop = Stop.SILENT if scope.cancelled_caught else Stop.ENDED
            return False
        now = self._now()
        exchange.coded_arrivals.append((now, len(chunk)))
        if data := decode(chunk):
            exchange.arrivals.append(Arrival(now, data))
            self._size += len(data)
        return not self._has_enough(now)

    def _has_enough(self, now: float) -> bool:
        limits = self._limits
        enough = now >= limits.watch or self._size > LARGEST_BODY or limits.until(self._exchange)
        if enough:
            self._exchange.stop = Stop.ENOUGH
        return enough


def _make_decode(coding: str) -> Callable[[bytes], bytes]:
    coding = coding.strip().lower()
    pieces_of = make_decode(coding)

    def decode(data: bytes) -> bytes:
        try:
            return b"".join(pieces_of(data)) if coding in CODINGS else b""
        except ConnectionError:  # then nothing is ever decoded, and that is what is found
            return b""

    return decode
