"""Choosing the host: by the event loop that runs."""

import asyncio

from sse_asgi.host.asyncio_host import AsyncioHost
from sse_asgi.host.host import Host


def current_host() -> Host:
    """Return the host for the running event loop; call it in the server's task."""
    try:
        return AsyncioHost(asyncio.get_running_loop())
    except RuntimeError:
        from sse_asgi.host.trio_host import TrioHost  # noqa: PLC0415 - needs trio

        return TrioHost()
