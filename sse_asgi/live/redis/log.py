"""`RedisLog`: the log in Redis or Valkey.

What Redis does well is left to it: streams keep the events, a key's time to live is the lease
and the retention, scripts make each step atomic, pub/sub carries the hints.
"""

import asyncio
import math
import re
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import TYPE_CHECKING

from sse_asgi.errors import FencedError, LeaseLostError, shown
from sse_asgi.live.log import Ack, Batch, Ending, Head, Lease, OnBuried
from sse_asgi.live.redis import scripts
from sse_asgi.live.redis.client import Client, check_client
from sse_asgi.live.redis.follow import Follower
from sse_asgi.live.redis.session import Session

if TYPE_CHECKING:
    from redis.asyncio import Redis, RedisCluster

_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FOR_EVER = 100 * 365 * 86_400.0  # seconds


class RedisLog:
    """Keeps generations in Redis 6.2 or later, or in Valkey, for any number of processes.

    Needs at most five connections to each node, whatever the number of generations and viewers;
    a server that is no cluster is one node. It blocks no connection, and repeats what failed by
    itself. The server needs no setting; with `maxmemory` choose a policy that evicts nothing
    (`noeviction`) or only what expires. A cluster needs Redis 7 or later, or Valkey.

    Args:
        url_or_client: `redis://`, `rediss://` or `unix://`, as redis-py reads it, without options
            but those for the database, the user and TLS. Or a client of redis-py's asyncio side
            that the application has: `Redis`, one made by `Sentinel`, or `RedisCluster`. `aclose`
            leaves that open; its own timeouts, retries and limits hold.
        prefix: Begins every key and channel. Processes that share it share generations, so
            give each deployment its own: letters, digits, dot, underscore, hyphen.
        lease: Seconds without a sign of life after which a producer counts as dead. It has to
            outlast a failover of the server.
        timeout: Seconds for which the server may leave a connection unanswered, and commands for up
            to a quarter longer.

    Raises:
        TypeError: If `url_or_client` is neither.
        ValueError: If the URL, `prefix` or a number is not of that form.
        ImportError: If it is a `RedisCluster`, and redis-py is older than 6.4.
    """

    def __init__(
        self,
        url_or_client: "str | Redis | RedisCluster",
        *,
        prefix: str,
        lease: float = 10.0,
        timeout: float = 5.0,
    ) -> None:
        check_client(url_or_client)
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"prefix {shown(prefix)}: use 1 to 64 letters, digits, dots, underscores or hyphens"
            )
        if not (0 < lease < math.inf and 0 < timeout < math.inf):
            raise ValueError(f"lease {lease!r} and timeout {timeout!r} must be positive seconds")
        self.on_buried: OnBuried | None = None
        self._target = url_or_client
        self._prefix = prefix
        self.lease: float = lease
        """Seconds without `beat` after which a producer counts as dead."""
        self._timeout = timeout
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: Session | None = None

    async def create(self, key: str, token: str, meta: str, *, keep: float) -> bool:
        """Begin a generation and hold its lease, unless the key exists."""
        return await self._hold(key, token, meta, keep) >= 0

    async def append(self, key: str, token: str, prev: int, events: Sequence[bytes]) -> Ack:
        """Store events at the positions after `prev`, and push them."""
        return await self._append(key, token, prev, events)

    async def attach(self, key: str, token: str, meta: str, *, keep: float) -> int:
        """Take a generation back after its lease, or the log, was lost."""
        tail = await self._hold(key, token, meta, keep)
        if tail < 0:
            raise FencedError(f"generation {key!r} has ended or has another producer")
        return tail

    async def beat(self, tokens: Mapping[str, str]) -> Mapping[str, Lease]:
        """Renew the leases of all these generations."""
        session = self._session()
        lease = _milliseconds(self.lease)
        replies = await asyncio.gather(
            *(session.run(scripts.BEAT, key, token, lease) for key, token in tokens.items())
        )
        return dict(zip(tokens, map(_lease, replies), strict=True))

    async def finish(
        self, key: str, token: str, prev: int, events: Sequence[bytes], ending: Ending
    ) -> Ack:
        """Store the last events and the ending, and give up the lease."""
        return await self._append(key, token, prev, events, *ending)

    async def stop(self, key: str) -> bool:
        """Ask the producer to end the generation, in whichever process it is."""
        lease = _milliseconds(self.lease)
        asked: int = await self._session().run(scripts.STOP, key, lease)
        return asked == 1

    async def look(self, key: str) -> Head | None:
        """Return what is known of a generation, or None if there is none of that key."""
        return await self._session().look(key)

    async def read(self, key: str, token: str, after: int) -> Batch:
        """Read stored events after a position, without waiting for more."""
        return await self._session().batch(key, token, after)

    def follow(self, key: str, token: str, after: int) -> AsyncGenerator[Batch, None]:
        """Read the events after a position, and wait for more, up to the ending."""
        return Follower(self._session(), key, token, after).batches()

    async def label(self, label: str, key: str, *, keep: float) -> None:
        """Let a label name a generation."""
        await self._session().run(scripts.LABEL, label, key, _milliseconds(keep))

    async def labelled(self, label: str) -> str | None:
        """Return the key that a label names, None for none."""
        key: bytes | None = await self._session().run(scripts.LABELLED, label)
        return None if key is None else key.decode()

    async def aclose(self) -> None:
        """Close the connections. The next call opens them again, also in another loop."""
        session, self._opened = self._opened, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.aclose()

    def _session(self) -> Session:
        """Return the session of the running loop: connections cannot move to another."""
        loop = asyncio.get_running_loop()
        if self._opened is None or self._loop is not loop:
            self._loop = loop
            client = Client(self._target, timeout=self._timeout)
            self._opened = Session(
                client, prefix=self._prefix, lease=self.lease, on_buried=self._tell_buried
            )
        return self._opened

    def _tell_buried(self, key: str, token: str) -> None:
        if self.on_buried is not None:
            self.on_buried(key, token)

    async def _hold(self, key: str, token: str, meta: str, keep: float) -> int:
        kept, lease = _milliseconds(keep), _milliseconds(self.lease)
        tail: int = await self._session().run(
            scripts.HOLD, key, token, meta, kept, kept + lease, lease
        )
        return tail

    async def _append(
        self, key: str, token: str, prev: int, events: Sequence[bytes], *ending: str
    ) -> Ack:
        header = f"{token} {prev} {prev + len(events)}"
        reply: int = await self._session().run(
            scripts.APPEND, key, header, scripts.pack(events), *ending
        )
        if reply < 0:
            raise LeaseLostError(f"the log knows no producer with this token for {key!r}")
        return Ack(reply >> 1, bool(reply & 1))


def _lease(reply: Sequence[int]) -> Lease:
    if not reply:
        return Lease(held=False)
    tail, stop, followers, visited = reply
    return Lease(held=True, tail=tail, stop=bool(stop), followers=followers, visited=bool(visited))


def _milliseconds(seconds: float) -> int:
    return max(1, round(min(seconds, _FOR_EVER) * 1000))
