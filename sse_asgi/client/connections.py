"""One connection after the other, for one task that waits and others that interrupt it."""

import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress

import anyio
import anyio.lowlevel

from sse_asgi.client.inbox import Inbox
from sse_asgi.client.request import EventStreamRequest
from sse_asgi.client.response import (
    BODY_LENGTH,
    CODINGS,
    End,
    Reconnection,
    Response,
    coding_of,
    end_of,
    is_event_stream,
    lost,
)

PIECE = 16_384
"""Bytes of the body that are read at a time: other tasks run in between."""

_BODY_TIMEOUT = 1.0
_BUFFERED = 64


class Connections:
    """Connect, read, and connect again, by the rules of HTML 9.2.2 and 9.2.3.

    Args:
        request: What is sent for each connection.
        inbox: Where the bytes go.
        reconnection: How long to wait.
    """

    def __init__(
        self, request: EventStreamRequest, inbox: Inbox, reconnection: Reconnection
    ) -> None:
        self.opened = False  # ever
        self.reconnection = reconnection
        self._request = request
        self._inbox = inbox
        self._body: _Body | None = None
        self._due = 0.0  # when to connect, by the event loop's clock
        self._closed = False
        self._restarted = False  # and that is not told yet
        self._scope: anyio.CancelScope | None = None  # around the wait of the task that steps
        self._waited = anyio.Event()

    async def step(self) -> End | None:
        """Connect, or read once; None says that there may be something in the inbox.

        Raises:
            SSEError: The last connection has failed.
            RuntimeError: Another task is stepping.
        """
        if self._closed:
            return End(final=True)
        if self._restarted:
            self._restarted = False
            return End(restarted=True)
        end = await self._step()
        if end is None:
            return None
        await self._drop()
        try:
            wait = self.reconnection.after(end)
        except Exception:
            self._closed = True
            raise
        if wait is None:
            self._closed = True
            return End(final=True)
        self._due = anyio.current_time() + wait
        return end

    async def restart(self) -> None:
        """Drop the connection; the next one is due at once."""
        if not self._closed:
            self.reconnection.reset()
            self._due = 0.0
            self._restarted = True
            await self._interrupt()

    async def aclose(self) -> None:
        """Drop the connection; there is no next one."""
        self._closed = True
        await self._interrupt()

    async def _step(self) -> End | None:
        if self._scope is not None:
            raise RuntimeError("another task is waiting for the next event of this EventSource")
        self._waited = anyio.Event()
        end: End | None = None
        try:
            with anyio.CancelScope() as self._scope:
                end = await self._read_or_connect()
            if not self._scope.cancel_called:
                return end
            await self._drop()
        except BaseException as error:
            # An error is final; a cancellation of the task is not, but closes the connection.
            self._closed = self._closed or isinstance(error, Exception)
            await self._drop()
            raise
        finally:
            self._scope = None
            self._waited.set()
        return None

    async def _interrupt(self) -> None:
        if self._scope is None:
            return await self._drop()
        self._scope.cancel()
        with anyio.CancelScope(shield=True):
            await self._waited.wait()
        return None

    async def _drop(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            await body.aclose()

    async def _read_or_connect(self) -> End | None:
        if self._body is not None:
            return await self._read(self._body)
        await anyio.sleep_until(self._due)
        try:
            response = await self._request.send(self._inbox.last_event_id)
        except Exception as error:  # noqa: BLE001 - it is raised where it is not the network's
            return End(lost("cannot connect", error, self._request.url))
        self._body = _Body(response)
        return await self._open(self._body, response)

    async def _open(self, body: "_Body", response: Response) -> End | None:
        if not is_event_stream(response):
            return end_of(response, await body.read_beginning())
        self.opened = True
        self._inbox.connect()
        return None

    async def _read(self, body: "_Body") -> End | None:
        try:
            data = await body.read()
        except Exception as error:  # noqa: BLE001 - it is raised where it is not the network's
            return End(lost("the connection broke off", error, self._request.url))
        if data is None:
            return End()
        self._inbox.feed(data)
        self.reconnection.note_byte(self._inbox.reconnection_time)
        return None


class _Body:
    """Read the body of a response as it comes, and close it properly."""

    def __init__(self, response: Response) -> None:
        self._response = response
        # Never aiter_text or aiter_lines: they obey `charset` and split at U+2028. A body that is
        # there already, as tests make them, is decoded and has no raw bytes.
        is_raw = not response.is_stream_consumed
        self._chunks: AsyncIterator[bytes] = (
            response.aiter_raw() if is_raw else response.aiter_bytes()
        )
        self._decode = make_decode(coding_of(response) if is_raw else "")
        self._pieces: Iterator[bytes] = iter(())
        self._reading = False

    async def read(self) -> bytes | None:
        """Wait for the next bytes and return them, None at the end."""
        await anyio.lowlevel.checkpoint()  # a chunk may have any number of pieces
        while (piece := next(self._pieces, None)) is None:
            self._reading = True
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return None
            self._pieces = self._decode(chunk)
        return piece

    async def read_beginning(self) -> bytes:
        """Return the first bytes of the body, as far as they come at once."""
        body = b""
        with suppress(Exception), anyio.move_on_after(_BODY_TIMEOUT):
            while len(body) < BODY_LENGTH and (data := await self.read()) is not None:
                body += data
        return body

    async def aclose(self) -> None:
        """Close the response, whether or not the task is being cancelled."""
        with anyio.CancelScope(shield=True):
            if self._reading:
                await self._unwind()
            with suppress(Exception):  # a connection that is broken already
                await self._response.aclose()

    async def _unwind(self) -> None:
        """End the generators that read the body, which the libraries stack one in the other.

        Closing the outermost leaves the inner ones to the garbage collector, and under trio each
        warns of that. A cancelled read ends them all.
        """
        with anyio.CancelScope() as scope, suppress(Exception):
            scope.cancel()
            for _ in range(_BUFFERED):  # what had arrived already comes without a wait
                if await anext(self._chunks, None) is None:
                    return


def make_decode(coding: str) -> Callable[[bytes], Iterator[bytes]]:
    """Return a function that undoes a content coding piece by piece.

    httpx undoes it, too, but in one go: 64 KiB may become 64 MiB and stop the event loop for a
    second. So the raw body is expanded here, one bounded piece after the other.
    """
    if coding in CODINGS[:2] or coding not in CODINGS:  # the latter for the text of a refusal
        return lambda data: (data[at : at + PIECE] for at in range(0, len(data), PIECE))
    inflate = zlib.decompressobj(47)  # the header says whether it is gzip or zlib's format

    def decode(data: bytes) -> Iterator[bytes]:
        nonlocal inflate
        piece = b""
        while data or len(piece) == PIECE:  # a full piece may leave something in the decompressor
            if inflate.eof:  # gzip may have several members
                inflate = zlib.decompressobj(47)
            try:
                piece = inflate.decompress(data, PIECE)
            except zlib.error as error:
                raise ConnectionError(f"the content coding is broken: {error}") from error
            data = inflate.unconsumed_tail or inflate.unused_data
            if piece:
                yield piece

    return decode
