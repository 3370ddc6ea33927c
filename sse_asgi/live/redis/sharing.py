"""Sharing: those who ask for the same place of a generation at about the same time ask once."""

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, Final

from sse_asgi.live.log import LOST, Batch, Head

KEPT: Final = 4_194_304
"""Bytes of batches that a process keeps, for viewers who come to the same place a little later."""

_OVERHEAD = 50  # bytes for each event

Place = tuple[str, str, int]


class Shared:
    """Answers under way, and the newest batches.

    What has been stored at a position of a token never changes, so a batch may be kept.
    """

    def __init__(self) -> None:
        self._under_way: dict[Any, asyncio.Task[Any]] = {}
        self._kept: OrderedDict[Place, Batch] = OrderedDict()
        self._size = 0

    async def head(self, key: str, look: Coroutine[Any, Any, Head | None]) -> Head | None:
        """Return a generation's head as `look` does, for all who ask meanwhile."""
        found: Head | None = await self._once(key, look)
        return found

    async def batch(
        self, key: str, token: str, after: int, read: Coroutine[Any, Any, Batch]
    ) -> Batch:
        """Return the batch after a position as `read` does, or as it did lately."""
        place = key, token, after
        kept = self._kept.get(place)
        if kept is not None:
            self._kept.move_to_end(place)
            read.close()
            return kept
        batch: Batch = await self._once(place, read)
        self._keep(place, batch)
        return batch

    async def _once(self, place: Any, ask: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
        task = self._under_way.get(place)
        if task is None:
            task = asyncio.create_task(ask, name="sse_asgi redis read")
            self._under_way[place] = task
            task.add_done_callback(lambda _: self._under_way.pop(place, None))
        else:
            ask.close()
        return await asyncio.shield(task)  # whoever leaves leaves it to the others

    def _keep(self, place: Place, batch: Batch) -> None:
        if place in self._kept or not batch.events:
            return
        if batch.ending is not None and batch.ending.outcome == LOST:
            return
        self._kept[place] = batch
        self._size += _size(batch)
        while self._size > KEPT:
            _, dropped = self._kept.popitem(last=False)
            self._size -= _size(dropped)


def _size(batch: Batch) -> int:
    return sum(map(len, batch.events)) + _OVERHEAD * len(batch.events)
