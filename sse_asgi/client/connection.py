"""One open connection: with an event loop, or in a thread that waits."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, TypeAlias

import anyio

Response: TypeAlias = Any  # of httpx or httpx2, of which neither is imported
BODY_LENGTH = 2_000  # characters of a refusal's body that are kept
_PIECE = 16_384
_BODY_TIMEOUT = 1.0
_BUFFERED = 16_384  # chunks: of one byte each, fewer fit into the 64 KiB that are read at a time


class HTTPClient(Protocol):
    """A client of httpx or httpx2."""

    def build_request(self, *args: Any, **kwargs: Any) -> Any: ...  # noqa: ANN401, D102 - theirs


class Connection:
    """A connection of an `AsyncClient`: its response, whose body comes piece by piece."""

    client_kind: str = "AsyncClient"

    def __init__(self, response: Response) -> None:
        self.response: Response = response
        self._chunks: AsyncIterator[bytes] = self._open()
        self._pieces: Iterator[bytes] = iter(())

    async def read(self) -> bytes:
        """Return the next bytes, b"" at the end, after a moment in which other tasks run."""
        await self.sleep(0)
        while not (piece := next(self._pieces, b"")):
            chunk = await anext(self._chunks, None)
            if chunk is None:
                return b""
            # A few compressed bytes may have become megabytes.
            self._pieces = (chunk[at : at + _PIECE] for at in range(0, len(chunk), _PIECE))
        return piece

    async def read_beginning(self) -> bytes:
        """Return the first bytes, as far as they come within a second."""
        body, end = b"", time.monotonic() + _BODY_TIMEOUT
        with suppress(Exception), self._limit(_BODY_TIMEOUT):  # what had come will do
            while len(body) < BODY_LENGTH and time.monotonic() < end:
                if not (piece := await self.read()):
                    break
                body += piece
        return body

    async def aclose(self) -> None:
        """Close the connection, whether or not the task is being cancelled."""
        with anyio.CancelScope(shield=True):
            await self._unwind()
            with suppress(Exception):  # a connection that is broken already
                await self.response.aclose()

    @staticmethod
    async def sleep(seconds: float) -> None:
        """Wait."""
        await anyio.sleep(seconds)

    def _limit(self, seconds: float) -> AbstractContextManager[object]:
        return anyio.move_on_after(seconds)

    def _open(self) -> Any:  # noqa: ANN401 - theirs
        # Never aiter_text or aiter_lines: they obey `charset` and split at U+2028.
        return self.response.aiter_bytes()

    async def _unwind(self) -> None:
        # The libraries stack generators. To close the outermost leaves the inner ones to the
        # garbage collector, and under trio each warns of that. A cancelled read ends them all.
        with anyio.CancelScope() as scope, suppress(Exception):
            scope.cancel()
            for _ in range(_BUFFERED):  # what had arrived already comes without a wait
                if await anext(self._chunks, None) is None:
                    return


class BlockingConnection(Connection):
    """A connection of a `Client`, or its body alone: what is awaited here never suspends."""

    client_kind = "Client"

    async def aclose(self) -> None:
        """Close the connection."""
        self.response.close()

    @staticmethod
    async def sleep(seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)  # noqa: ASYNC251 - no event loop runs it

    def _limit(self, seconds: float) -> AbstractContextManager[object]:
        return nullcontext(seconds)

    async def _open(self) -> AsyncIterator[bytes]:
        is_response = hasattr(self.response, "iter_bytes")
        for chunk in self.response.iter_bytes() if is_response else self.response:
            yield chunk
