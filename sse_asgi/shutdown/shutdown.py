"""Which streams are open, and how they are told that the server stops.

No server tells a running response of its shutdown: each waits for the response first, some for
ever, some until they cancel it. So the streams learn of it from the signal itself (see
`signals`), from hypercorn's worker (see `hypercorn`), or from the application by `begin`.

Nothing here outlives the streams that are open: no handler, no task, no flag. A second server
in the process, or one that starts later, is not touched by the end of another.
"""

import contextlib
import math
import sys
import time
import weakref
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary, WeakSet

from sse_asgi.host.host import Host, current_host
from sse_asgi.host.loops import Handle, running_loop
from sse_asgi.shutdown.hypercorn import Worker, find_worker
from sse_asgi.shutdown.readiness import Readiness
from sse_asgi.shutdown.signals import chain, in_main_thread
from sse_asgi.wire.events import ServerSentEvent

LOOK_AGAIN: Final = 10.0
"""Seconds after which a worker of hypercorn that was not there is looked for again."""


class OpenStream(Protocol):
    """A stream, as far as a shutdown is concerned."""

    def shut_down_in(self, seconds: float) -> None:
        """Stop after that time; called in the stream's own thread."""


class Shutdown:
    """What happens to open streams when the server is told to stop.

    They may end by themselves within `grace`; then the rest get `farewell` and a clean end,
    with the outcome `SHUT_DOWN`. Their responses done, the server exits. Keep `grace` below the
    server's own limit, if it has one: after that the server cancels.

    One instance serves any number of streams, event loops and threads.

    Args:
        grace: Seconds that a stream may still take, 0 or more; `math.inf` for no limit.
        farewell: An event for the streams that are cut. `ServerSentEvent(retry=…, data=…)` can
            say when to come back.
        signals: Notice SIGTERM and SIGINT, by chaining the server's own handlers, in the main
            thread and only while streams are open. Without it only `begin` starts a shutdown.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: `grace` is negative.
    """

    def __init__(
        self,
        *,
        grace: float = 5.0,
        farewell: ServerSentEvent | None = None,
        signals: bool = True,
    ) -> None:
        _check(grace, farewell, signals)
        self.grace: float = float(grace)
        self.farewell = farewell
        self.signals = signals
        self._open: dict[OpenStream, Host] = {}
        # The streams that listen for the server's stop, each with what waits for hypercorn's.
        self._listening: dict[OpenStream, Handle | None] = {}
        self._until = 0.0  # the end of a grace that has begun, on the monotonic clock
        self._stopping: WeakSet[object] | None = WeakSet()  # in these event loops; `None`: in any
        # For event loops: hypercorn's worker, if it was found, and when it was looked for.
        self._workers: WeakKeyDictionary[object, tuple[Worker | None, float]] = WeakKeyDictionary()
        # The event loops that a probe has reached, each with what ends the listening for it, if
        # there is any; those of which probes are told that they stop; and whether any is, until
        # the grace is over.
        self._probed: WeakKeyDictionary[object, weakref.finalize[..., Any] | None]
        self._probed = WeakKeyDictionary()
        self._stopped: WeakSet[object] = WeakSet()
        self._any_stops = False

    @property
    def ready(self) -> Readiness:
        """An ASGI application for probes: it answers 200, and 503 from the signal or `begin` on.

        From its first answer on it listens for the signal, whether streams are open or not, until
        that comes.
        """
        return Readiness(self._has_to_stop)

    def begin(self) -> None:
        """Let the shutdown begin, from any thread or a signal handler. Returns at once.

        It concerns the streams that are open now, and those that open within `grace` in the
        same event loops; in any, if none is open now and `grace` is finite. Others live on: a
        server that starts later has an event loop of its own.
        """
        streams = tuple(self._open.items())
        loops = {host.loop for _, host in streams}
        self._until = time.monotonic() + self.grace
        if streams:
            self._stopping = WeakSet(loops)
        elif self.grace < math.inf:  # else it would concern those of every later server
            self._stopping = None
        self._tell_probes({*loops, *self._probed, running_loop()} - {None})
        for stream, host in streams:
            with contextlib.suppress(RuntimeError):  # its event loop is gone, and it with it
                host.call_threadsafe(stream.shut_down_in, self.grace)

    def enter(self, stream: OpenStream, host: "Host | None" = None) -> None:
        """Count a stream in as open; called in its own task, unless that gives its host."""
        host = host or current_host()
        self._open[stream] = host
        if self._until > 0:
            remaining = self._until - time.monotonic()
            if remaining > 0 and (self._stopping is None or host.loop in self._stopping):
                stream.shut_down_in(remaining)

    def listen(self, stream: OpenStream, host: Host) -> None:
        """Notice the server's stop for a stream that has come in and lasts.

        A stream whose source never waits is over before a server could act on a signal. To chain
        the handlers for it alone would be a fifth of its cost.
        """
        if self.signals:
            chain.add(self.begin)
            waits = partial(self._wait_for_worker, stream, host.loop)
            self._listening[stream] = host.start(waits) if "hypercorn" in sys.modules else None

    def leave(self, stream: OpenStream) -> None:
        """Count it out again, if it was in; called in its own thread."""
        self._open.pop(stream, None)
        if stream in self._listening:
            chain.remove(self.begin)
            waiting = self._listening.pop(stream)
            if waiting is not None:
                waiting.cancel()

    # Hypercorn

    async def _wait_for_worker(self, stream: OpenStream, loop: object) -> None:
        worker = self._worker_of(loop)
        if worker is not None:
            await worker.terminated.wait()
            stream.shut_down_in(min(self.grace, worker.grace))

    def _worker_of(self, loop: object) -> Worker | None:
        """Return hypercorn's worker in the running event loop; it starts before any stream."""
        worker, looked_at = self._workers.get(loop, (None, -math.inf))
        now = time.monotonic()
        # Another may have come after it. To look for one is dear: it looks at all tasks.
        if worker.terminated.is_set() if worker else now - looked_at > LOOK_AGAIN:
            worker = find_worker()
            self._workers[loop] = worker, now
        return worker

    # Probes

    def _has_to_stop(self, loop: object) -> bool:
        """Tell whether the server of an event loop has been told to stop; listen for it if not."""
        if self._any_stops and time.monotonic() < self._until:
            self._stopped.add(loop)
        if loop in self._stopped:
            return True
        if self.signals and "hypercorn" in sys.modules:
            worker = self._worker_of(loop)
            if worker is not None and worker.terminated.is_set():
                return True
        if loop not in self._probed:
            self._probed[loop] = None
            if self.signals and chain.add(self.begin):
                ends = self._probed[loop] = weakref.finalize(loop, chain.remove, self.begin)
                ends.atexit = False
        return False

    def _tell_probes(self, loops: set[object]) -> None:
        """Note which servers stop; if none is known, those that are asked for within the grace.

        One that is asked for later is another server's.
        """
        self._stopped.update(loops)
        self._any_stops = not loops
        if in_main_thread():  # only there can handlers be put back
            for ends in tuple(self._probed.values()):
                if ends is not None:
                    ends()
            self._probed.clear()


def _check(grace: object, farewell: object, signals: object) -> None:
    if isinstance(grace, bool) or not isinstance(grace, (int, float)):
        raise TypeError(f"grace must be a number of seconds, not {grace!r}")
    if not grace >= 0:  # also when it is not a number
        raise ValueError(f"grace must be 0 or more seconds, not {grace!r}")
    if farewell is not None and not isinstance(farewell, ServerSentEvent):
        raise TypeError(f"farewell must be a ServerSentEvent or None, not {farewell!r}")
    if not isinstance(signals, bool):
        raise TypeError(f"signals must be True or False, not {signals!r}")


DEFAULT = Shutdown()
"""Serves every stream that names none. It holds nothing while no stream is open."""
