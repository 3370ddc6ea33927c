"""What a client is told of a stream that does not end well. Internals stay inside."""

import logging
from collections.abc import Callable
from typing import Final, cast

from sse_asgi.wire.outcome import Outcome

DescribeError = Callable[[BaseException], str]

MESSAGES: Final = {
    Outcome.FAILED: "The stream failed on the server.",
    Outcome.SHUT_DOWN: "The server is shutting down.",
}
"""What a client is told unless `describe_error` says more. Nobody is told of `timed_out`."""

_logger = logging.getLogger("sse_asgi")


def describe(
    outcome: Outcome, error: BaseException | None, describe_error: DescribeError | None
) -> str:
    """Return the message for the client of a stream that failed or was shut down."""
    if error is not None and describe_error is not None:
        try:
            message = cast("object", describe_error(error))
            if isinstance(message, str):
                return message
            _logger.error("describe_error returned %s, not a str", type(message).__qualname__)
        except Exception:
            _logger.exception("describe_error raised")
    return MESSAGES[outcome]
