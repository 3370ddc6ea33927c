"""`MemoryLog`: generations in the memory of one process."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

from sse_asgi.checks import check_int
from sse_asgi.errors import FencedError, LeaseLostError
from sse_asgi.live.log import (
    EVENT_COST,
    LOST,
    Ack,
    Batch,
    Ending,
    Head,
    Lease,
    OnBuried,
    bounded,
)


@dataclass(slots=True, eq=False)
class _Generation:
    """One generation's events, and what wakes those who wait for more."""

    token: str
    meta: str
    keep: float
    labels: list[str] = field(default_factory=list[str])
    events: list[bytes] = field(default_factory=list[bytes])
    size: int = 1_000
    ending: Ending | None = None
    expires: float = math.inf
    stop: bool = False
    followers: int = 0
    visited: bool = False
    more: asyncio.Event = field(default_factory=asyncio.Event)

    def extend(self, prev: int, events: Sequence[bytes]) -> int:
        """Add the events that are new, and return the tail."""
        tail = len(self.events)
        if tail < prev:
            return tail
        for event in events if tail == prev else events[tail - prev :]:
            self.events.append(event)
            self.size += len(event) + EVENT_COST
        if self.followers:
            self.more.set()
        return len(self.events)

    def batch(self, after: int) -> Batch:
        events = bounded(self.events, after, len(self.events))
        reached = after + len(events) >= len(self.events)
        return Batch(after, events, self.ending if reached else None)


class MemoryLog:
    """Keeps generations in this process, for as long as it lives.

    A finished generation stays for its `keep`, and at most until there are too many: then those
    that ended first go first. Running generations are never dropped; `Live` bounds them.

    Args:
        max_bytes: Bytes kept of all finished generations together: those of their events, 50
            more for each event, and 1,000 more for each generation.

    Raises:
        TypeError: `max_bytes` is no int.
        ValueError: It is less than 0.
    """

    lease: float = math.inf

    def __init__(self, *, max_bytes: int = 128 * 1024 * 1024) -> None:
        check_int("max_bytes", max_bytes, lowest=0)
        self.on_buried: OnBuried | None = None  # never called: producers die with this process
        self._max_bytes = max_bytes
        self._generations: dict[str, _Generation] = {}
        self._labels: dict[str, str] = {}  # each as long as its generation
        self._timers: dict[str, asyncio.TimerHandle | None] = {}  # of finished ones, oldest first
        self._bytes = 0  # of those

    async def create(self, key: str, token: str, meta: str, *, keep: float) -> bool:
        known = self._find(key)
        if known is None:
            known = self._generations[key] = _Generation(token, meta, keep)
        return known.token == token

    async def append(self, key: str, token: str, prev: int, events: Sequence[bytes]) -> Ack:
        generation = self._generations.get(key)
        if generation is None or generation.token != token or generation.ending is not None:
            raise _lost(key)
        return Ack(generation.extend(prev, events), generation.stop)

    async def attach(self, key: str, token: str, meta: str, *, keep: float) -> int:
        if not await self.create(key, token, meta, keep=keep):
            raise FencedError(f"generation {key!r} has another producer")
        generation = self._generations[key]
        if generation.ending is not None:
            raise FencedError(f"generation {key!r} has ended")
        return len(generation.events)

    async def beat(self, tokens: Mapping[str, str]) -> Mapping[str, Lease]:
        return {key: self._lease(key, token) for key, token in tokens.items()}

    async def finish(
        self, key: str, token: str, prev: int, events: Sequence[bytes], ending: Ending
    ) -> Ack:
        generation = self._generations.get(key)
        if generation is None or generation.token != token:
            raise _lost(key)
        tail = len(generation.events)
        if generation.ending is None and tail >= prev:
            tail = generation.extend(prev, events)
            self._end(key, generation, ending)
        return Ack(tail, generation.stop)

    async def stop(self, key: str) -> bool:
        generation = self._find(key)
        if generation is None or generation.ending is not None:
            return False
        generation.stop = True
        return True

    async def look(self, key: str) -> Head | None:
        found = self._find(key)
        if found is None:
            return None
        return Head(found.token, found.meta, len(found.events), found.ending)

    async def read(self, key: str, token: str, after: int) -> Batch:
        generation = self._find(key, token)
        return Batch(after, (), Ending(LOST)) if generation is None else generation.batch(after)

    async def follow(self, key: str, token: str, after: int) -> AsyncGenerator[Batch, None]:
        generation = self._find(key, token)
        if generation is None:
            yield Batch(after, (), Ending(LOST))
            return
        generation.followers += 1
        generation.visited = True
        try:
            while True:
                batch = generation.batch(after)
                if batch.events or batch.ending is not None:
                    after = batch.last
                    yield batch
                    if batch.ending is not None:
                        return
                else:
                    generation.more.clear()
                    await generation.more.wait()
        finally:
            generation.followers -= 1

    async def label(self, label: str, key: str, *, keep: float) -> None:  # noqa: ARG002 - the log's
        generation = self._find(key)
        if generation is not None:
            generation.labels.append(label)
            self._labels[label] = key

    async def labelled(self, label: str) -> str | None:
        return self._labels.get(label)

    async def aclose(self) -> None:
        """Do nothing: the generations stay until their time is over."""

    def _find(self, key: str, token: str = "") -> _Generation | None:
        generation = self._generations.get(key)
        if generation is not None and generation.expires <= time.monotonic():
            self._drop(key)  # the event loop of its timer was closed
            return None
        return None if generation and token not in ("", generation.token) else generation

    def _lease(self, key: str, token: str) -> Lease:
        found = self._generations.get(key)
        if found is None or found.token != token or found.ending is not None:
            return Lease(held=False)
        return Lease(
            held=True, tail=len(found.events), stop=found.stop, followers=found.followers,
            visited=found.visited,
        )  # fmt: skip

    def _end(self, key: str, generation: _Generation, ending: Ending) -> None:
        generation.ending = ending
        generation.more.set()
        generation.expires = time.monotonic() + generation.keep
        self._bytes += generation.size
        self._timers[key] = None
        if generation.keep < math.inf:
            loop = asyncio.get_running_loop()
            self._timers[key] = loop.call_later(generation.keep, self._drop, key)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._timers)))

    def _drop(self, key: str) -> None:
        generation = self._generations.pop(key)
        self._bytes -= generation.size
        timer = self._timers.pop(key)
        if timer is not None:
            timer.cancel()
        for label in generation.labels:
            if self._labels.get(label) == key:
                del self._labels[label]


def _lost(key: str) -> LeaseLostError:
    return LeaseLostError(f"no producer with this token runs generation {key!r}")
