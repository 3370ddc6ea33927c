"""Lingering: a generation that nobody watches any more may end after a while."""

import math
import time
from typing import Final

from sse_asgi.live.log import Lease
from sse_asgi.live.viewer import Feed

FIRST_VIEWER: Final = 30.0
"""Seconds that a generation which lingers waits at least for its first viewer."""


class Linger:
    """Knows for how long nobody, in any process, has watched a generation. Asked at each beat.

    Args:
        seconds: Without viewers after which it is to end.
        feed: What the viewers here read.
    """

    def __init__(self, seconds: float, feed: Feed) -> None:
        self._seconds = seconds
        self._feed = feed
        self._since = time.monotonic()
        self._visited = False

    def is_over(self, lease: Lease) -> bool:
        """Tell whether it has been without viewers for long enough, by what the log says now."""
        now = time.monotonic()
        if lease.followers or self._feed.viewers:
            self._visited, self._since = True, math.inf
            return False
        if not self._visited and (lease.visited or self._feed.left):
            self._visited = True  # somebody came and went between two beats
            self._since = self._feed.left or now
        self._since = min(self._since, now)
        alone = now - max(self._since, self._feed.left)
        return alone >= (self._seconds if self._visited else max(self._seconds, FIRST_VIEWER))
