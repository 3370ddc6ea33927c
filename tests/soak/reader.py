"""What a client reads of one stream, and where it ends."""

from sse_asgi import EventStreamDecoder, StreamFailedError

from .ledger import wrong_with
from .plan import Plan


class Reader:
    """Reads a body into text, up to the end marker or the error event."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._events = EventStreamDecoder()
        self._decode = plan.framing.decoder()
        self._text = ""
        self._ended = self._failed = False
        self._late = 0  # events after the last one

    def feed(self, body: bytes) -> None:
        for event in self._events.feed(body):
            self._late += self._ended or self._failed
            try:
                piece = self._decode(event)
            except StreamFailedError:
                self._failed = True
            else:
                self._ended = self._ended or piece is None
                self._text += piece or ""

    def wrong(self, *, produced: int | None = None) -> str | None:
        """Say what is wrong with what came, or None; `produced` as in `wrong_with`."""
        if self._late:
            return f"{self._late} events came after the end"
        return wrong_with(self._text, ended=self._ended, plan=self._plan, produced=produced)
