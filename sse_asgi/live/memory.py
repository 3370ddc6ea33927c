"""`MemoryLog`: generations in the memory of one process."""

import asyncio
import bisect
import math
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence

from sse_asgi.errors import FencedError, LeaseLostError
from sse_asgi.live.checks import check_int
from sse_asgi.live.log import LOST, Ack, Batch, Ending, Head, Lease, OnBuried, bounded


class _Generation:
    """One generation's events and those who wait for more."""

    __slots__ = (
        "ending", "events", "expires", "followers", "keep", "labels", "meta", "size", "stop",
        "token", "visited", "waiting",
    )  # fmt: skip

    def __init__(self, token: str, meta: str, keep: float) -> None:
        self.token = token
        self.meta = meta
        self.keep = keep
        self.labels: list[str] = []
        self.events: list[bytes] = []
        self.size = 0
        self.ending: Ending | None = None
        self.expires = math.inf
        self.stop = False
        self.followers = 0
        self.visited = False
        self.waiting: list[asyncio.Future[None]] = []

    def extend(self, prev: int, events: Sequence[bytes]) -> int:
        """Add the events that are new, and return the tail."""
        tail = len(self.events)
        if tail < prev:
            return tail
        fresh = events if tail == prev else events[tail - prev :]
        if fresh:
            self.events += fresh
            self.size += len(fresh[0]) if len(fresh) == 1 else sum(map(len, fresh))
            tail += len(fresh)
            if self.waiting:
                self.wake()
        return tail

    @property
    def cost(self) -> int:
        """Bytes that it takes, about."""
        return self.size + 50 * len(self.events) + 1_000

    def wake(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def change(self) -> "asyncio.Future[None]":
        """Return what is done at the next change."""
        future = asyncio.get_running_loop().create_future()
        self.waiting.append(future)
        return future

    def batch(self, after: int) -> Batch:
        events = bounded(self.events, after, len(self.events))
        reached = after + len(events) >= len(self.events)
        return Batch(after, events, self.ending if reached else None)


class MemoryLog:
    """Keeps generations in this process, for as long as it lives.

    A finished generation stays for its `keep`, and at most until the caps: then those that
    ended first go first. Running generations are never dropped; `Live` bounds each of them.

    Args:
        max_events: Events kept of all finished generations together.
        max_bytes: Bytes kept of all finished generations together: those of their events, 50
            more for each event, and 1,000 more for each generation.

    Raises:
        TypeError: An argument is no int.
        ValueError: An argument is less than 0.
    """

    lease: float = math.inf

    def __init__(self, *, max_events: int = 1_000_000, max_bytes: int = 128 * 1024 * 1024) -> None:
        check_int("max_events", max_events, lowest=0)
        check_int("max_bytes", max_bytes, lowest=0)
        self.on_buried: OnBuried | None = None  # never called: producers die with this process
        self._max_events = max_events
        self._max_bytes = max_bytes
        self._generations: dict[str, _Generation] = {}
        self._labels: dict[str, str] = {}  # each as long as its generation
        self._finished: OrderedDict[str, _Generation] = OrderedDict()
        self._expiry: list[tuple[float, str]] = []  # sorted
        self._timer_at = math.inf
        self._events = 0
        self._bytes = 0

    async def create(self, key: str, token: str, meta: str, *, keep: float) -> bool:
        """Begin a generation, unless the key exists."""
        self._expire()
        known = self._generations.get(key)
        if known is None:
            self._generations[key] = _Generation(token, meta, keep)
            return True
        return known.token == token

    async def append(self, key: str, token: str, prev: int, events: Sequence[bytes]) -> Ack:
        """Store events at the positions after `prev`."""
        generation = self._generations.get(key)
        if generation is None or generation.token != token or generation.ending is not None:
            raise LeaseLostError(f"no producer with this token runs generation {key!r}")
        return Ack(generation.extend(prev, events), generation.stop)

    async def attach(self, key: str, token: str, meta: str, *, keep: float) -> int:
        """Return the tail of a running generation; begin it if it was dropped."""
        if not await self.create(key, token, meta, keep=keep):
            raise FencedError(f"generation {key!r} has another producer")
        generation = self._generations[key]
        if generation.ending is not None:
            raise FencedError(f"generation {key!r} has ended")
        return len(generation.events)

    async def beat(self, tokens: Mapping[str, str]) -> Mapping[str, Lease]:
        """Return the standing of these generations."""
        return {key: self._lease(key, token) for key, token in tokens.items()}

    async def finish(
        self, key: str, token: str, prev: int, events: Sequence[bytes], ending: Ending
    ) -> Ack:
        """Store the last events and the ending."""
        generation = self._generations.get(key)
        if generation is None or generation.token != token:
            raise LeaseLostError(f"no producer with this token runs generation {key!r}")
        tail = len(generation.events)
        if generation.ending is None and tail >= prev:
            tail = generation.extend(prev, events)
            self._end(key, generation, ending)
        return Ack(tail, generation.stop)

    async def stop(self, key: str) -> bool:
        """Ask the producer to end the generation."""
        generation = self._generations.get(key)
        if generation is None or generation.ending is not None:
            return False
        generation.stop = True
        return True

    async def look(self, key: str) -> Head | None:
        """Return what is known of a generation, or None if there is none of that key."""
        self._expire()
        found = self._generations.get(key)
        if found is None:
            return None
        return Head(found.token, found.meta, len(found.events), found.ending)

    async def read(self, key: str, token: str, after: int) -> Batch:
        """Read stored events after a position, without waiting."""
        self._expire()
        generation = self._generations.get(key)
        if generation is None or generation.token != token:
            return Batch(after, (), Ending(LOST))
        return generation.batch(after)

    async def follow(self, key: str, token: str, after: int) -> AsyncGenerator[Batch, None]:
        """Read the events after a position, and wait for more, up to the ending."""
        self._expire()
        generation = self._generations.get(key)
        if generation is None or generation.token != token:
            yield Batch(after, (), Ending(LOST))
            return
        generation.followers += 1
        generation.visited = True
        change: asyncio.Future[None] | None = None
        try:
            while True:
                if after < len(generation.events) or generation.ending is not None:
                    batch = generation.batch(after)
                    after = batch.last
                    yield batch
                    if batch.ending is not None:
                        return
                else:
                    change = generation.change()
                    await change
        finally:
            if change in generation.waiting:
                generation.waiting.remove(change)
            generation.followers -= 1

    async def label(self, label: str, key: str, *, keep: float) -> None:  # noqa: ARG002 - the log's
        """Let a label name a generation for as long as that stays."""
        generation = self._generations.get(key)
        if generation is not None:
            generation.labels.append(label)
            self._labels[label] = key

    async def labelled(self, label: str) -> str | None:
        """Return the key that a label names, None for none."""
        self._expire()
        return self._labels.get(label)

    async def aclose(self) -> None:
        """Do nothing: the generations stay until their time is over."""

    def _lease(self, key: str, token: str) -> Lease:
        generation = self._generations.get(key)
        if generation is None or generation.token != token or generation.ending is not None:
            return Lease(held=False)
        return Lease(
            held=True,
            tail=len(generation.events),
            stop=generation.stop,
            followers=generation.followers,
            visited=generation.visited,
        )

    def _end(self, key: str, generation: _Generation, ending: Ending) -> None:
        generation.ending = ending
        generation.expires = time.monotonic() + generation.keep
        self._finished[key] = generation
        bisect.insort(self._expiry, (generation.expires, key))
        self._events += len(generation.events)
        self._bytes += generation.cost
        generation.wake()
        self._expire()

    def _expire(self) -> None:
        """Drop finished generations that are over the caps or past their time."""
        while self._finished and (self._events > self._max_events or self._bytes > self._max_bytes):
            self._drop(next(iter(self._finished)))
        now = time.monotonic()
        while self._expiry and self._expiry[0][0] <= now:
            self._drop(self._expiry[0][1])
        self._set_timer()

    def _set_timer(self) -> None:
        """Look again when the next generation's time is over, though nobody calls."""
        now = time.monotonic()
        if self._timer_at < now:  # it has rung, or its event loop was closed before
            self._timer_at = math.inf
        if self._expiry and self._expiry[0][0] < self._timer_at:
            self._timer_at = self._expiry[0][0]
            asyncio.get_running_loop().call_later(self._timer_at - now, self._expire)

    def _drop(self, key: str) -> None:
        generation = self._finished.pop(key)
        del self._generations[key]
        for label in generation.labels:
            if self._labels.get(label) == key:
                del self._labels[label]
        del self._expiry[bisect.bisect_left(self._expiry, (generation.expires, key))]
        self._events -= len(generation.events)
        self._bytes -= generation.cost
