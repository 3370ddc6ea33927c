"""What becomes of a log that fails: it is said once, and borne for a lease."""

import logging
import math
import time
from typing import Final

from sse_asgi.errors import LogError, LogRefusedError, LogUnavailableError

PAUSE: Final = 0.25
"""Seconds after which a call that has failed is repeated."""

_QUIET: Final = 30.0  # seconds without a trouble; when it comes again, it is another outage

_logger = logging.getLogger("sse_asgi")


class Patience:
    """Measures for how long something fails. It is repeated for a lease, and then given up."""

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self._since = math.inf

    def is_over(self, since: float = math.inf) -> bool:
        """Note a failure of what went well until `since`, by default until now."""
        now = time.monotonic()
        self._since = min(self._since, since, now)
        return now - self._since > self._lease

    def reset(self) -> None:
        self._since = math.inf


class Outage:
    """Logs what goes wrong with a log: once for each outage and cause."""

    def __init__(self) -> None:
        self._noted: dict[tuple[type, str], float] = {}

    def note(self, raised: Exception, call: str = "call") -> LogError:
        """Note what a call of the log has raised; return it as the error that it should be.

        It is logged if it concerns more than one generation, or is no error that a log may raise.
        """
        if isinstance(raised, (LogUnavailableError, LogRefusedError)):
            self._note(raised)
        elif not isinstance(raised, LogError):
            _logger.error("a log's %s raised", call, exc_info=raised)
            error = LogError(f"the log's {call} raised {raised!r}")
            error.__cause__ = raised
            return error
        return raised

    def _note(self, error: LogError) -> None:
        cause = error.__cause__ or error
        kind = type(error), f"{type(cause).__name__}: {cause}"
        now = time.monotonic()
        self._noted = {each: at for each, at in self._noted.items() if now - at < _QUIET}
        is_known = kind in self._noted
        self._noted[kind] = now
        if is_known:
            return
        if isinstance(error, LogUnavailableError):
            _logger.warning("the log of live generations is out of reach, trying again: %s", error)
        else:
            _logger.error("the log of live generations refuses: %s", error)
