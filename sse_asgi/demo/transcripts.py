"""The last transcripts, for those who ask while a stream is still ending."""

from collections import OrderedDict

import anyio

from sse_asgi import Transcript


class Transcripts:
    """Keep the last transcripts by id, and let readers wait for one.

    Args:
        limit: Transcripts kept; the oldest is dropped for a new one.
    """

    def __init__(self, *, limit: int = 100) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, Transcript] = OrderedDict()
        self._added = anyio.Condition()

    async def add(self, id_: str, transcript: Transcript) -> None:
        """Keep a transcript and wake the readers who wait for it."""
        async with self._added:
            self._kept[id_] = transcript
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
            self._added.notify_all()

    async def wait_for(self, id_: str, *, seconds: float) -> Transcript | None:
        """Return a transcript as soon as it is there; None if it does not come in time."""
        with anyio.move_on_after(seconds):
            async with self._added:
                while id_ not in self._kept:
                    await self._added.wait()
        return self._kept.get(id_)
