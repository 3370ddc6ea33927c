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
RSS_SLACK = 8 * 2**20  # bytes: allocators keep some of what a peak took
BLOCKS_SLACK = 3_000  # Python's own caches; a leak of one object a stream is far more


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
        exact = {key: (getattr(first, key), getattr(self, key)) for key in EXACT}
        kinds = first.objects.keys() | self.objects.keys()
        exact |= {f"{k} objects": (first.objects.get(k, 0), self.objects.get(k, 0)) for k in kinds}
        grown = [f"{name}: {a} before, {b} after" for name, (a, b) in exact.items() if b > a]
        if self.blocks > first.blocks + BLOCKS_SLACK:
            grown.append(f"blocks: {first.blocks:,} before, {self.blocks:,} after")
        if self.rss > first.rss * RSS_GROWTH + RSS_SLACK:
            grown.append(f"RSS: {first.rss / 2**20:.0f} MiB before, {self.rss / 2**20:.0f} after")
        return grown


EXACT = ("tasks", "threads", "files")


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
