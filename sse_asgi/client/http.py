"""What the client needs of an HTTP library: httpx and httpx2 both have it, neither is imported."""

import importlib
import os
import socket
import ssl
from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol, cast

import anyio

from sse_asgi.errors import shown

CONNECT_TIMEOUT = 10.0
"""Seconds that a client of our own may take to connect, or to send a part of the request."""

_OURS = {"InvalidURL", "LocalProtocolError", "UnsupportedProtocol"}  # the request is at fault
_TEMPORARY = {"TransportError", "DecodingError"}
_BROKEN = (OSError, anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream)


class HeaderFields(Protocol):
    """A response's header fields, found without regard to case."""

    def get_list(self, key: str) -> list[str]:
        """Return the value of every field of this name."""
        ...


class Response(Protocol):
    """A response whose body has not been read yet."""

    @property
    def status_code(self) -> int:
        """The status."""
        ...

    @property
    def headers(self) -> HeaderFields:
        """The header fields."""
        ...

    @property
    def url(self) -> object:
        """The URL that answered."""
        ...

    @property
    def is_stream_consumed(self) -> bool:
        """Whether the body is there already."""
        ...

    def aiter_bytes(self) -> AsyncIterator[bytes]:
        """Yield the body without its content coding."""
        ...

    def aiter_raw(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives."""
        ...

    async def aclose(self) -> None:
        """Close the response."""
        ...


# The requests and timeouts of the two libraries are different classes, hence Any.
class AsyncClient(Protocol):
    """An `httpx.AsyncClient` or an `httpx2.AsyncClient`."""

    @property
    def timeout(self) -> Any:  # noqa: ANN401
        """The client's time limits."""
        ...

    @property
    def cookies(self) -> Any:  # noqa: ANN401
        """The client's cookies."""
        ...

    def build_request(
        self,
        method: str,
        url: str,
        *,
        content: bytes | None = ...,
        headers: Sequence[tuple[bytes, bytes]] | None = ...,
        timeout: tuple[float | None, float | None, float | None, float | None] = ...,
    ) -> Any:  # noqa: ANN401
        """Build a request with the client's own header fields and cookies."""
        ...

    async def send(
        self,
        request: Any,  # noqa: ANN401
        *,
        stream: bool = ...,
        auth: Any = ...,  # noqa: ANN401
        follow_redirects: bool = ...,
    ) -> Any:  # noqa: ANN401
        """Send a request."""
        ...

    async def aclose(self) -> None:
        """Close the client."""
        ...


def check_client(client: object) -> None:
    """Check that a client that was passed in can do what is needed.

    Raises:
        TypeError: If it cannot; a synchronous `httpx.Client` is the usual mistake.
    """
    # A synchronous client has `close`, an asynchronous one `aclose`.
    needed = ("build_request", "send", "aclose")
    if isinstance(client, type) or not all(hasattr(client, name) for name in needed):
        raise TypeError(
            f"client must be an httpx.AsyncClient or httpx2.AsyncClient, not {shown(client)} "
            f"({type(client).__name__}); leave it out for one of its own"
        )


def make_client() -> AsyncClient:
    """Make a client of httpx, or of httpx2 where only that is installed.

    Raises:
        ImportError: If neither is; the message has the command that installs one.
    """
    library = import_library()
    # What reads wait for is set for each request.
    timeout = library.Timeout(CONNECT_TIMEOUT, read=None, pool=None)
    return cast("AsyncClient", library.AsyncClient(timeout=timeout))


def import_library() -> Any:  # noqa: ANN401 - whichever is there
    """Import httpx, or httpx2 where only that is installed.

    Raises:
        ImportError: If neither is; the message has the command that installs one.
    """
    for name in ("httpx", "httpx2"):
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
    raise ImportError(
        'sse_asgi.client.EventSource needs httpx: pip install "sse-asgi[client]"', name="httpx"
    )


def may_pass(error: Exception) -> bool:
    """Tell whether what an HTTP client raised is of the network, so that a retry makes sense.

    The errors are known by their names, which httpx and httpx2 share.
    """
    return bool(_names(error) & _TEMPORARY) or isinstance(error, _BROKEN)


def is_unfit(error: Exception) -> bool:
    """Tell whether an HTTP client refuses to send a request as it is."""
    return bool(_names(error) & _OURS)


def _names(error: Exception) -> set[str]:
    return {base.__name__ for base in type(error).__mro__}


def reason(error: BaseException) -> str:
    """Say why a request failed: the operating system's words, where they are at the bottom of it.

    "Connection refused" tells more than "All connection attempts failed".
    """
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        if isinstance(cause, BaseExceptionGroup):
            cause = cast("BaseExceptionGroup[BaseException]", cause).exceptions[0]
        elif isinstance(cause, OSError) and cause.errno:
            return _os_reason(cause)
        else:
            cause = cause.__cause__ or cause.__context__
    return str(error) or type(error).__name__


def _os_reason(error: OSError) -> str:
    # These two have numbers of their own. asyncio puts its own words over the others'.
    if isinstance(error, ssl.SSLError | socket.gaierror):
        return error.strerror or str(error)
    return os.strerror(error.errno or 0)
