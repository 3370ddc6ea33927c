"""What goes wrong with a log, said once."""

import logging
import time
from typing import Final

from sse_asgi.errors import LogError, LogRefusedError, LogUnavailableError

QUIET: Final = 30.0
"""Seconds without a trouble after which it counts as another outage when it comes again."""

_logger = logging.getLogger("sse_asgi")


class Outage:
    """Logs that a log does not answer, or refuses: once for each outage and cause."""

    def __init__(self) -> None:
        self._last: dict[tuple[type, str], float] = {}

    def note(self, error: LogError) -> None:
        """Note what a call of the log has raised, if that concerns more than one generation."""
        if not isinstance(error, (LogUnavailableError, LogRefusedError)):
            return
        cause = error.__cause__ or error
        now = time.monotonic()
        kind = type(error), f"{type(cause).__name__}: {cause}"
        last = self._last.get(kind)
        self._last = {each: at for each, at in self._last.items() if now - at < QUIET}
        self._last[kind] = now
        if last is not None and now - last < QUIET:
            return
        if isinstance(error, LogUnavailableError):
            _logger.warning("the log of live generations is out of reach, trying again: %s", error)
        else:
            _logger.error("the log of live generations refuses: %s", error)


def defect(error: Exception, call: str) -> LogError:
    """Log what a log's call has raised although no log may; return what its generation fails by."""
    _logger.error("a log's %s raised", call, exc_info=error)
    failure = LogError(f"the log's {call} raised {error!r}")
    failure.__cause__ = error
    return failure
