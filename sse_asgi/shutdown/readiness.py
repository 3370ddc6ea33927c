"""Readiness: what the probes of a load balancer are told, from the signal on."""

import math
import time
import weakref
from collections.abc import Callable, Iterable
from typing import Final
from weakref import WeakKeyDictionary, WeakSet

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.host.host import current_host

_READY: Final = 200, b"ready\n"
_STOPPING: Final = 503, b"stopping\n"


class Readiness:
    """An ASGI application for probes: 200, and 503 from the moment the server is told to stop.

    Args:
        has_to_stop: Tells whether the server of an event loop has been told to.
    """

    def __init__(self, has_to_stop: Callable[[object], bool]) -> None:
        self._has_to_stop = has_to_stop

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - ASGI
        """Answer one probe.

        Raises:
            ValueError: The scope is not one of HTTP.
        """
        if scope["type"] != "http":
            raise ValueError("Shutdown.ready answers HTTP alone: mount it, or route a path to it")
        status, body = _STOPPING if self._has_to_stop(current_host().loop) else _READY
        headers = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        is_head = scope["method"] == "HEAD"
        await send({"type": "http.response.body", "body": b"" if is_head else body})


class Stopped:
    """The event loops whose servers have been told to stop, as far as probes ask for it."""

    def __init__(self) -> None:
        # The event loops that a probe has reached, and what ends the listening there.
        self._asked: WeakKeyDictionary[object, weakref.finalize[..., object]] = WeakKeyDictionary()
        self._stopped: WeakSet[object] = WeakSet()
        self._until = -math.inf  # a shutdown that concerns any event loop, until then

    def __contains__(self, loop: object) -> bool:
        if loop not in self._stopped and time.monotonic() < self._until:
            self._stopped.add(loop)
        return loop in self._stopped

    def add(self, loops: Iterable[object], grace: float) -> None:
        """Note that a shutdown has begun: in these event loops, and where a probe has come.

        Where there is none of these, in any that is asked for within the grace; one that is asked
        for later is another server's.
        """
        loops = {*loops, *self._asked}
        self._stopped.update(loops)
        self._until = -math.inf if loops else time.monotonic() + grace
        for listening in tuple(self._asked.values()):
            listening()  # ends it
        self._asked.clear()

    def listen(
        self, loop: object, listen: Callable[[], object], ignore: Callable[[], object]
    ) -> None:
        """Listen from now on until a shutdown begins or the event loop is gone."""
        if loop not in self._asked:
            listen()
            self._asked[loop] = weakref.finalize(loop, ignore)
            self._asked[loop].atexit = False
