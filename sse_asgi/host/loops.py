"""What asyncio and trio have in common, for the few places that must serve both by name."""

import asyncio
from collections.abc import Callable


def in_asyncio() -> bool:
    """Tell whether asyncio runs this code; if not, trio does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def thread_safe_caller() -> Callable[..., object]:
    """Return what calls a function soon in the running event loop, from any thread.

    It raises a RuntimeError once the loop is gone.
    """
    if in_asyncio():
        return asyncio.get_running_loop().call_soon_threadsafe
    import trio  # noqa: PLC0415 - running under it, so it is there; else nobody needs it

    return trio.lowlevel.current_trio_token().run_sync_soon
