"""The event that ends a stream: what a client is told of its outcome."""

import logging

from sse_asgi.stream.failure import describe
from sse_asgi.stream.lifecycle import Cause, Lifecycle
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.wire.outcome import Outcome

_logger = logging.getLogger("sse_asgi")


def final_body(outbox: Outbox, lifecycle: Lifecycle, options: Options) -> bytes:
    """Return what is still to be sent, and the event that ends the stream.

    A user's framing that raises here fails the stream, and is asked for its failure once more.
    """
    try:
        _put_final_event(outbox, lifecycle, options)
        return outbox.take()
    except Exception as error:  # noqa: BLE001 - `on_complete` is told
        lifecycle.settle(Outcome.FAILED, error, by=Cause.FRAMING)
    try:
        _put_final_event(outbox, lifecycle, options)
        return outbox.take()
    except Exception:
        _logger.exception("a framing raised while it was to tell of a failure")
        return b""


def _put_final_event(outbox: Outbox, lifecycle: Lifecycle, options: Options) -> None:
    outcome = lifecycle.outcome or Outcome.COMPLETED
    if outcome in (Outcome.COMPLETED, Outcome.STOPPED):
        outbox.put_end(outcome)
        return
    message = describe(outcome, lifecycle.error, options.describe_error)
    has_told = outbox.put_failure(message, outcome)
    farewell = None if options.shutdown is None else options.shutdown.farewell
    if outcome is Outcome.SHUT_DOWN and farewell is not None and not has_told:
        outbox.put_event(farewell.encode())
