"""Defects: what a log raises although no log may."""

import logging

from sse_asgi.errors import LogError

_logger = logging.getLogger("sse_asgi")


def defect(error: Exception, call: str) -> LogError:
    """Log what a log's call has raised, and return the error that its generation fails with."""
    _logger.error("a log's %s raised", call, exc_info=error)
    failure = LogError(f"the log's {call} raised {error!r}")
    failure.__cause__ = error
    return failure
