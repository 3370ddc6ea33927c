"""A framing that notices a shutdown which comes before anything was said."""

from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome
from sse_asgi.wire.parts import Part


class Noticing:
    """A framing of one stream, and its encoder, that passes all on to another framing.

    Attributes:
        was_shut_down: The server was told to stop before the stream had said anything.
    """

    def __init__(self, framing: Framing) -> None:
        encoder = framing.encoder()
        self.headers = framing.headers
        self.decoder = framing.decoder
        self.begin = encoder.begin
        self.end = encoder.end
        self._encoder = encoder
        self._has_said = False
        self.was_shut_down = False

    def encoder(self) -> "Noticing":
        """Return itself."""
        return self

    def text(self, chunks: list[str]) -> bytes:
        """Encode text."""
        self._has_said = True
        return self._encoder.text(chunks)

    def part(self, part: Part) -> bytes:
        """Encode a part."""
        self._has_said = True
        return self._encoder.part(part)

    def fail(self, message: str, outcome: Outcome) -> bytes:
        """Encode a failure."""
        self.was_shut_down = outcome is Outcome.SHUT_DOWN and not self._has_said
        return self._encoder.fail(message, outcome)
