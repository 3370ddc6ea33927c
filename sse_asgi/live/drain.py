"""Draining: what a server's stop does to generations that run here, and to their viewers."""

from typing import Final

from sse_asgi.shutdown.shutdown import Shutdown

LAST_EVENT: Final = 1.0
"""Seconds by which viewers stay longer than their generation: so they see its end."""


def while_draining(
    shutdown: Shutdown | None, drain: float
) -> tuple[Shutdown | None, Shutdown | None]:
    """Return the `Shutdown` of the generations here, and that of their viewers.

    Args:
        shutdown: What the user chose for viewers; None: nobody is told of a server's stop.
        drain: Seconds that the generations may go on.
    """
    if shutdown is None:
        return None, None
    stay = max(shutdown.grace, drain + LAST_EVENT)
    signals = shutdown.signals
    return (
        Shutdown(grace=drain, signals=signals),
        Shutdown(grace=stay, farewell=shutdown.farewell, signals=signals),
    )
