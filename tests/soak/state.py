"""What a process holds: memory, objects, tasks, threads, files."""

import asyncio
import gc
import os
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import sniffio

PAGE = os.sysconf("SC_PAGE_SIZE")
RSS_GROWTH = 1.15  # times, and
RSS_SLACK = 32 * 2**20  # bytes: allocators keep some of what a peak took
BLOCKS_SLACK = 3_000  # Python's own caches; a leak of one object a stream is far more

OBJECTS_SLACK = 50  # of one type: what a few exceptions and abandoned sources still hold
EXACT = ("tasks", "threads", "files")


@dataclass(frozen=True, slots=True)
class State:
    """Counts after garbage collection, while no stream is open."""

    rss: int  # bytes
    blocks: int  # that Python has allocated
    objects: dict[str, int]  # of sse_asgi, by type
    tasks: int
    threads: int
    files: int

    @classmethod
    def now(cls) -> "State":
        """Read the state of this process; called in its event loop."""
        gc.collect()
        return cls(
            rss=int(Path("/proc/self/statm").read_text().split()[1]) * PAGE,
            blocks=sys.getallocatedblocks(),
            objects=objects_of("sse_asgi"),
            tasks=living_tasks(),
            threads=threading.active_count(),
            files=len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - only their number counts
        )

    def growth(self, first: "State") -> list[str]:
        """Say what has grown since `first`."""
        pairs = {name: (getattr(first, name), getattr(self, name)) for name in EXACT}
        grown = [f"{name}: {a} before, {b} after" for name, (a, b) in pairs.items() if b > a]
        for kind, number in self.objects.items():
            if number > (before := first.objects.get(kind, 0)) + OBJECTS_SLACK:
                grown.append(f"{kind} objects: {before} before, {number} after")
        if self.blocks > first.blocks + BLOCKS_SLACK:
            grown.append(f"blocks: {first.blocks:,} before, {self.blocks:,} after")
        if self.rss > first.rss * RSS_GROWTH + RSS_SLACK:
            grown.append(f"RSS: {first.rss / 2**20:.0f} MiB before, {self.rss / 2**20:.0f} after")
        return grown


def objects_of(package: str) -> dict[str, int]:
    """Count the objects whose class belongs to a package, by the class's name."""
    types = Counter(type(each) for each in gc.get_objects())
    return {
        f"{kind.__module__}.{kind.__qualname__}": number
        for kind, number in types.items()
        if str(kind.__module__).partition(".")[0] == package
    }


def living_tasks() -> int:
    if sniffio.current_async_library() == "trio":
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())
