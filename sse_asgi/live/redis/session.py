"""A session: what a process and one event loop have with a Redis server. Two connections."""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sse_asgi.errors import LogUnavailableError
from sse_asgi.live.redis import scripts
from sse_asgi.live.redis.absence import Absence
from sse_asgi.live.redis.commit import Commits
from sse_asgi.live.redis.connection import Connections
from sse_asgi.live.redis.push import Pushes
from sse_asgi.live.redis.reading import Reading, parse_reading

_PAUSE = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What a `RedisLog` was given.

    Attributes:
        url: Where the server is.
        prefix: What keys begin with.
        lease: Seconds without a beat after which a producer counts as dead.
        timeout: Seconds for which the server may leave something unanswered.
        process: The channel on which this process is woken.
    """

    url: str
    prefix: str
    lease: float
    timeout: float
    process: str

    @property
    def silence(self) -> float:
        """Seconds without a push after which a follower looks into the log itself."""
        return min(5.0, self.lease / 6)

    @property
    def grace(self) -> float:
        """Seconds for which a lease has to be missing before a reader calls it a death.

        A producer that lives beats within one `silence`, and takes its lease back then.
        """
        return self.silence * 1.2 + 0.1


class Session:
    """Runs scripts and listens to pushes; connects when it is first needed.

    Attributes:
        settings: What the log was given.
        pushes: What listens.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._slot = f"{{{settings.prefix}:"
        connections = Connections(settings.url, timeout=settings.timeout)
        self.pushes = Pushes(connections, silence=settings.silence)
        self._commits = Commits(connections)

    async def run(
        self, script: scripts.Script, keys: Sequence[str], *arguments: str | bytes | int
    ) -> Any:  # noqa: ANN401 - each script has its own reply
        """Run a script; again, for up to `timeout` seconds, if the server fails."""
        failing: Absence | None = None
        while True:
            try:
                return await self._commits.run(script, keys, *arguments)
            except LogUnavailableError:
                failing = failing or Absence()
                if failing.seconds(missing=True) > self.settings.timeout:
                    raise
                await asyncio.sleep(_PAUSE)

    async def read(
        self, key: str, after: int, *, count: int = 200, bury: bool = False, present: bool = False
    ) -> Reading | None:
        """Look into a generation's log.

        Args:
            key: The generation.
            after: The position to read from.
            count: Stream entries to read at most.
            bury: Whether to end it if nobody holds its lease.
            present: Whether this process follows it.
        """
        reply = await self.run(
            scripts.READ,
            self.keys(key, "log", "own", "see"),
            after,
            count,
            int(bury),
            self.settings.process,
            math.ceil(self.settings.lease) + 1 if present else 0,
        )
        return parse_reading(reply)

    async def leave(self, key: str) -> None:
        """Say that this process follows a generation no longer. Not repeated: it expires."""
        keys = self.keys(key, "own", "see")
        await self._commits.run(scripts.LEAVE, keys, key, self.settings.process)

    def keys(self, key: str, *names: str) -> list[str]:
        """Return the names of a generation's keys, all in one hash slot."""
        slot = self.slot(key)
        return [slot + name for name in names]

    def slot(self, key: str) -> str:
        """Return what the names of a generation's keys begin with."""
        return f"{self._slot}{key}}}:"

    async def aclose(self) -> None:
        """Close both connections, once what waits is done."""
        await self.pushes.aclose()
        await self._commits.aclose()
