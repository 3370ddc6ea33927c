"""One connection: a response whose body is read as it comes, and closed properly."""

from collections.abc import AsyncIterator, Iterator
from contextlib import suppress

import anyio

from sse_asgi.client.coding import Decode, make_decoder
from sse_asgi.client.http import Response

_BODY_TIMEOUT = 1.0
_BODY_LENGTH = 2_000
_BUFFERED = 64


class Connection:
    """Read the body of a response.

    Args:
        response: The response.
        decode: Undoes the content coding; by default the one that the response has.
    """

    def __init__(self, response: Response, decode: Decode | None = None) -> None:
        self.response = response
        coding = ", ".join(response.headers.get_list("content-encoding"))
        self._decode = decode or make_decoder(coding)
        self._chunks = self._make_chunks()
        self._pieces: Iterator[bytes] = iter(())
        self._reading = False

    @property
    def is_readable(self) -> bool:
        """Whether the content coding is a known one."""
        return self._decode is not None

    async def read(self) -> bytes | None:
        """Wait for the next bytes and return them, None at the end."""
        while (piece := next(self._pieces, None)) is None:
            self._reading = True
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return None
            self._pieces = self._decode(chunk) if self._decode else iter([chunk])
        return piece

    async def read_beginning(self) -> str:
        """Return the first characters of the body, as far as they come at once."""
        body = b""
        with suppress(Exception), anyio.move_on_after(_BODY_TIMEOUT):
            while len(body) < _BODY_LENGTH and (data := await self.read()) is not None:
                body += data
        return body.decode("utf-8", "replace")[:_BODY_LENGTH]

    async def aclose(self) -> None:
        """Close the connection, whether or not the task is being cancelled."""
        with anyio.CancelScope(shield=True):
            if self._reading:
                await self._unwind()
            with suppress(Exception):  # a connection that is broken already
                await self.response.aclose()

    def _make_chunks(self) -> AsyncIterator[bytes]:
        # Never aiter_text or aiter_lines: they obey `charset` and split at U+2028. A body that is
        # there already, as tests make them, is decoded and has no raw bytes.
        if self.response.is_stream_consumed:
            self._decode = make_decoder("")
            return self.response.aiter_bytes()
        return self.response.aiter_raw()

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
