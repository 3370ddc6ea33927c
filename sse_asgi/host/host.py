"""The host: the event loop and the server's task, as one stream sees them.

asyncio and trio differ in how a task is cancelled. asyncio cancels once: the await where the task
stands raises, and later awaits work again. trio cancels a scope: each await inside of it raises,
unless a shield is around it. `AsyncioHost` and `TrioHost` have the same methods, and the rest of
the package sees that difference nowhere else.
"""

import asyncio
from typing import TYPE_CHECKING, TypeAlias

from sse_asgi.host.asyncio_host import AsyncioHost

if TYPE_CHECKING:
    from sse_asgi.host.trio_host import TrioHost

Host: TypeAlias = "AsyncioHost | TrioHost"


def current_host() -> Host:
    """Return the host for the running event loop; call it in the server's task."""
    try:
        return AsyncioHost(asyncio.get_running_loop())
    except RuntimeError:
        from sse_asgi.host.trio_host import TrioHost  # noqa: PLC0415 - needs trio

        return TrioHost()
