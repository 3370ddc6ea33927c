"""Lingering: a generation that nobody watches any more may end after a while."""

import asyncio
from collections.abc import Callable
from typing import Final

from sse_asgi.live.feed import Feed
from sse_asgi.live.log import Lease

FIRST_VIEWER: Final = 30.0
"""Seconds that a generation which lingers waits at least for its first viewer."""

AskLease = Callable[[Callable[[Lease], None]], None]
"""Asks the log for a lease, and tells it to what it is given."""


class Linger:
    """Ends a generation that nobody, in any process, has watched for long enough.

    Args:
        seconds: How long; None for never.
        feed: What the viewers here read.
        ask_lease: Asks for the lease, which tells whether somebody watches in another process.
        heed: Told of each lease that was asked for here; it has this object heed it.
        end: Ends the generation.
    """

    def __init__(
        self,
        seconds: float | None,
        *,
        feed: Feed,
        ask_lease: AskLease,
        heed: Callable[[Lease], None],
        end: Callable[[], object],
    ) -> None:
        self._seconds = seconds
        self._feed = feed
        self._ask_lease = ask_lease
        self._heed = heed
        self._end = end
        self._timer: asyncio.TimerHandle | None = None
        self._awaited = True  # nobody has watched yet

    def start(self) -> None:
        """Wait for the first viewer."""
        if self._seconds is not None:
            self._wait(max(self._seconds, FIRST_VIEWER))

    def stop(self) -> None:
        """Wait for nobody: there are viewers, or the generation has ended."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def heed(self, lease: Lease) -> None:
        """Act on what the log says of viewers in other processes."""
        if self._seconds is None or not lease.held:
            return
        if self._is_watched(lease):
            self._awaited = False
            self.stop()
        elif self._timer is None or (self._awaited and lease.visited):
            self._awaited = False
            self.stop()
            self._wait(self._seconds)

    def heed_wake(self, lease: Lease) -> None:
        """Act on a lease as after a wake: the last viewer may just have left."""
        if not self._is_watched(lease):
            self.stop()
        self._heed(lease)

    def left(self) -> None:
        """Find out whether there are viewers elsewhere, now that the last one here has left."""
        if self._seconds is not None:
            self._ask_lease(self.heed_wake)

    def _is_watched(self, lease: Lease) -> bool:
        return bool(lease.followers or self._feed.viewers)

    def _wait(self, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(seconds, self._ask_lease, self._expire)

    def _expire(self, lease: Lease) -> None:
        """End, for nobody has watched for long enough; unless somebody does now."""
        self._timer = None
        if lease.held and not self._is_watched(lease):
            self._end()
        else:
            self._heed(lease)
