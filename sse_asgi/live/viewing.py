"""Viewing: the options of the responses to viewers, and what stands around these.

Telemetry and compression are imported only if they are used.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from sse_asgi.around import Answer, check_layer, enclosed
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.stream.options import HeadersInput, Options, make_headers
from sse_asgi.wire.framing import TextFraming

if TYPE_CHECKING:
    from sse_asgi.compression import CompressionByFraming
    from sse_asgi.limits import Limits
    from sse_asgi.telemetry import Telemetry

LAST_EVENT: Final = 1.0
"""Seconds by which viewers stay longer than their generation: so they see its end."""

_NOSNIFF: Final = (b"x-content-type-options", b"nosniff")


class Viewing:
    """What all responses to viewers have in common. The arguments are those of `Live`.

    Attributes:
        elsewhere: Options of the responses to viewers of what runs elsewhere.
        here: The same for what runs here: while the server stops they stay with it.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work, or `headers` forbid to compress.
        ImportError: There is no zstd here.
    """

    def __init__(
        self,
        *,
        heartbeat: float | None,
        send_timeout: float | None,
        cleanup_timeout: float,
        headers: HeadersInput | None,
        shutdown: Shutdown | None,
        drain: float,
        telemetry: "Telemetry | None",
        limits: "Limits | None",
        compress: tuple[str, ...],
    ) -> None:
        if isinstance(headers, Iterator):  # it can be read but once
            headers = tuple(headers)
        self._headers = headers
        self.elsewhere: Options = Options(
            framing=TextFraming(done=None),
            headers=self.headers_for({}),
            heartbeat=heartbeat,
            send_timeout=send_timeout,
            cleanup_timeout=cleanup_timeout,
            record=False,
            shutdown=shutdown,
        )
        stays = None
        if shutdown is not None:
            stays = Shutdown(
                grace=max(shutdown.grace, drain + LAST_EVENT),
                farewell=shutdown.farewell,
                signals=shutdown.signals,
            )
        self.here: Options = replace(self.elsewhere, shutdown=stays)
        check_layer("telemetry", telemetry, "Telemetry")
        check_layer("limits", limits, "Limits")
        watching = None if telemetry is None else telemetry.of_viewers()
        self._layers = tuple(layer for layer in (watching, limits) if layer is not None)
        self._compression = None if compress == () else _by_framing(compress, self._headers)

    def headers_for(self, demanded: Mapping[str, str]) -> tuple[tuple[bytes, bytes], ...]:
        """Return the header fields of a response, with those that a framing demands."""
        return (*make_headers(self._headers, demanded), _NOSNIFF)

    def around(self, answer: Answer, framing: str) -> Answer:
        """Return what answers a viewer of a generation with this framing."""
        compression = None if self._compression is None else self._compression.of(framing)
        layers = self._layers if compression is None else (*self._layers, compression)
        return enclosed(answer, layers)


def _by_framing(compress: tuple[str, ...], headers: HeadersInput | None) -> "CompressionByFraming":
    from sse_asgi.compression import CompressionByFraming  # noqa: PLC0415 - only if used

    return CompressionByFraming(compress, headers)
