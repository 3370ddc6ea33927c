"""429: what a client is told that gets no place (RFC 6585, 4)."""

import json
from collections.abc import Iterable
from typing import Final

from sse_asgi.around import Refusal
from sse_asgi.asgi import Send
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.failure import RATE_LIMITED, ErrorMessage
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome

_OF_STREAMS: Final = (
    b"cache-control", b"connection", b"content-encoding", b"content-length", b"content-type",
    b"retry-after", b"transfer-encoding", b"x-accel-buffering",
)  # fmt: skip


async def send_refusal(
    refusal: Refusal, framing: Framing, headers: Iterable[tuple[bytes, bytes]], send: Send
) -> None:
    """Answer with 429, `retry-after`, and what an event of the framing would say of a failure.

    Args:
        refusal: Why there is no place.
        framing: The words that the client understands.
        headers: Those of the stream that does not come; all that does not describe its body is
            kept, for a page of another origin reads nothing without them.
        send: The server's.
    """
    body = _body(refusal, framing)
    fields = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
        (b"retry-after", b"%d" % refusal.retry_after),
        *(field for field in headers if field[0] not in _OF_STREAMS),
    ]
    await send({"type": "http.response.start", "status": 429, "headers": fields})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _body(refusal: Refusal, framing: Framing) -> bytes:
    encoder = framing.encoder()
    encoder.begin()
    message = ErrorMessage(refusal.message, RATE_LIMITED)
    told = EventStreamDecoder().feed(encoder.fail(message, Outcome.FAILED))
    data = told[0].data if told else json.dumps({"message": refusal.message})
    return data.encode()
