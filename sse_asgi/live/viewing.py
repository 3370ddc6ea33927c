"""Viewing: what stands around the responses to viewers. Nothing is imported unless it is used."""

from typing import TYPE_CHECKING

from sse_asgi.around import Answer, check_layer, enclosed
from sse_asgi.stream.options import HeadersInput

if TYPE_CHECKING:
    from sse_asgi.compression import CompressionByFraming
    from sse_asgi.limits import Limits
    from sse_asgi.telemetry import Telemetry


class Viewing:
    """The layers around the responses to viewers. The arguments are those of `Live`.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: `compress` has another name, or `headers` forbid to compress.
        ImportError: There is no zstd here.
    """

    def __init__(
        self,
        telemetry: "Telemetry | None" = None,
        limits: "Limits | None" = None,
        compress: tuple[str, ...] = (),
        headers: HeadersInput | None = None,
    ) -> None:
        check_layer("telemetry", telemetry, "Telemetry")
        check_layer("limits", limits, "Limits")
        watching = None if telemetry is None else telemetry.of_viewers()
        self._layers = tuple(layer for layer in (watching, limits) if layer is not None)
        self._compression = None if compress == () else _by_framing(compress, headers)

    def around(self, answer: Answer, framing: str) -> Answer:
        """Return what answers a viewer of a generation with this framing."""
        compression = None if self._compression is None else self._compression.of(framing)
        layers = self._layers if compression is None else (*self._layers, compression)
        return enclosed(answer, layers)


def _by_framing(compress: tuple[str, ...], headers: HeadersInput | None) -> "CompressionByFraming":
    from sse_asgi.compression import CompressionByFraming  # noqa: PLC0415 - only if used

    return CompressionByFraming(compress, headers)
