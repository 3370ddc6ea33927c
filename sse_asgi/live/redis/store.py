"""`RedisLog`: the log in Redis or Valkey.

What Redis does well is left to it: streams keep the events, a key's time to live is the lease
and the retention, scripts make each step atomic, pub/sub carries the hints.
"""

import asyncio
import math
import re
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any

from sse_asgi.errors import FencedError, LeaseLostError, LogError, LogUnavailableError, shown
from sse_asgi.live.log import LOST, Ack, Append, Batch, Ending, Head, Lease
from sse_asgi.live.redis import scripts
from sse_asgi.live.redis.absence import Absence
from sse_asgi.live.redis.follow import Follower
from sse_asgi.live.redis.session import Session, Settings
from sse_asgi.live.redis.wire import pack

_TOLD = 1
_UNOWNED = 2
_PAUSE = 0.25
_APPENDS = 256  # in one call of a script, which holds up the server
_BEATS = 50
_SCHEMES = ("redis", "rediss", "unix")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{1,64}")


class RedisLog:
    """Keeps generations in Redis 6.2 or later, or in Valkey, for any number of processes.

    Needs two connections per process, whatever the number of generations and viewers. It
    blocks no connection, and repeats what failed by itself. The server needs no setting; with
    `maxmemory` choose a policy that evicts nothing (`noeviction`) or only what expires.

    Args:
        url: `redis://`, `rediss://` or `unix://`, as redis-py reads it.
        prefix: Begins every key and channel. Processes that share it share generations, so
            give each deployment its own: letters, digits, dot, underscore, hyphen.
        lease: Seconds without a sign of life after which a producer counts as dead. It has to
            outlast a failover of the server.
        timeout: Seconds for which the server may leave a command or a connection unanswered.

    Raises:
        TypeError: If `url` is no string.
        ValueError: If `url`, `prefix` or a number is not of that form.
    """

    def __init__(self, url: str, *, prefix: str, lease: float = 30.0, timeout: float = 5.0) -> None:
        _check_url(url)
        if not _PREFIX.fullmatch(prefix):
            raise ValueError(
                f"prefix {shown(prefix)}: use 1 to 64 letters, digits, dots, underscores or hyphens"
            )
        if not (0 < lease < math.inf and 0 < timeout < math.inf):
            raise ValueError(f"lease {lease!r} and timeout {timeout!r} must be positive seconds")
        self._settings = Settings(
            url=url,
            prefix=prefix,
            lease=lease,
            timeout=timeout,
            process=f"{prefix}:process:{secrets.token_urlsafe(12)}",
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened: Session | None = None

    @property
    def lease(self) -> float:
        """Seconds without `beat` after which a producer counts as dead."""
        return self._settings.lease

    async def create(self, key: str, token: str, meta: str, *, keep: float) -> bool:
        """Begin a generation and hold its lease, unless the key exists."""
        created: int = await self._run(
            scripts.CREATE, key, ("log", "own"), token, meta, *self._times(keep)
        )
        return created == 1

    async def append(self, appends: Sequence[Append]) -> Sequence[Ack | LogError]:
        """Store events at the positions that they name, and push them."""
        if len(appends) <= _APPENDS:
            return await self._append(appends)
        answers: list[Ack | LogError] = []
        for start in range(0, len(appends), _APPENDS):
            answers += await self._append(appends[start : start + _APPENDS])
        return answers

    async def _append(self, appends: Sequence[Append]) -> Sequence[Ack | LogError]:
        session = self._session()
        keys: list[str] = []
        arguments: list[str | bytes] = []
        for key, token, prev, events in appends:
            slot = session.slot(key)
            keys += (slot + "log", slot + "own")
            arguments += (f"{token} {prev} {prev + len(events)}", pack(events))
        replies = await session.run(scripts.APPEND, keys, *arguments)
        return [_answer(each.key, reply) for each, reply in zip(appends, replies, strict=True)]

    async def attach(self, key: str, token: str, meta: str, *, keep: float) -> int:
        """Take a generation back after its lease, or the log, was lost."""
        tail: int = await self._run(
            scripts.ATTACH, key, ("log", "own"), token, meta, *self._times(keep)
        )
        if tail < 0:
            raise FencedError(f"generation {key!r} has ended or has another producer")
        return tail

    async def beat(self, tokens: Mapping[str, str]) -> Mapping[str, Lease]:
        """Renew the leases of all these generations, some at a time."""
        session, lease = self._session(), _milliseconds(self.lease)
        keys = list(tokens)
        leases: dict[str, Lease] = {}
        for start in range(0, len(keys), _BEATS):
            some = keys[start : start + _BEATS]
            names = [name for key in some for name in session.keys(key, "log", "own", "see")]
            owners = [tokens[key] for key in some]
            replies = await session.run(scripts.BEAT, names, lease, *owners)
            leases.update(zip(some, map(_lease, replies), strict=True))
        return leases

    async def finish(
        self, key: str, token: str, prev: int, events: Sequence[bytes], ending: Ending
    ) -> Ack:
        """Store the last events and the ending, and give up the lease."""
        reply = await self._run(
            scripts.FINISH,
            key,
            ("log", "own", "see"),
            f"{token} {prev} {prev + len(events)}",
            pack(events),
            ending.outcome,
            ending.detail,
        )
        return _ack(key, reply)

    async def stop(self, key: str) -> bool:
        """Ask the producer to end the generation, in whichever process it is."""
        session = self._session()
        unowned = Absence()
        while True:
            answer: int = await session.run(scripts.STOP, session.keys(key, "log", "own"), key)
            if answer != _UNOWNED:
                return answer == _TOLD
            if unowned.seconds(missing=True) > self._settings.grace:
                await session.read(key, 0, count=0, bury=True)
                return False
            await asyncio.sleep(min(_PAUSE, self._settings.silence))

    async def look(self, key: str) -> Head | None:
        """Return what is known of a generation, or None if there is none of that key."""
        reading = await self._session().read(key, 0, count=0)
        return None if reading is None else reading.head()

    async def read(self, key: str, token: str, after: int) -> Batch:
        """Read up to 200 stream entries after a position, without waiting."""
        reading = await self._session().read(key, after)
        if reading is None or reading.token != token:
            return Batch(after, (), Ending(LOST))
        return reading.batch(after)

    def follow(self, key: str, token: str, after: int) -> AsyncGenerator[Batch, None]:
        """Read the events after a position, and wait for more, up to the ending."""
        return Follower(self._session(), key, token).batches(after)

    async def aclose(self) -> None:
        """Close both connections. The next call opens them again, also in another loop."""
        session, self._opened = self._opened, None
        if session is not None and self._loop is asyncio.get_running_loop():
            await session.aclose()

    def _session(self) -> Session:
        """Return the session of the running loop: connections cannot move to another."""
        loop = asyncio.get_running_loop()
        if self._opened is None or self._loop is not loop:
            self._loop = loop
            self._opened = Session(self._settings)
        return self._opened

    async def _run(
        self, script: scripts.Script, key: str, names: Sequence[str], *arguments: str | bytes | int
    ) -> Any:  # noqa: ANN401 - each script has its own reply
        session = self._session()
        return await session.run(script, session.keys(key, *names), *arguments)

    def _times(self, keep: float) -> tuple[int, int, int, str]:
        lease = _milliseconds(self.lease)
        return _milliseconds(keep), _milliseconds(keep) + lease, lease, self._settings.process


def _check_url(url: object) -> None:
    remedy = "pass the server's URL, redis://127.0.0.1:6379/0 for instance"
    if not isinstance(url, str):
        raise TypeError(f"url must be a str, not of type {type(url).__qualname__}; {remedy}")
    scheme, separator, _ = url.partition("://")
    if not separator:  # not shown: it may hold a password
        raise ValueError(f"url must begin with redis://, rediss:// or unix://; {remedy}")
    if scheme.lower() not in _SCHEMES:
        raise ValueError(
            f"url must begin with redis://, rediss:// or unix://, not {shown(scheme)}; {remedy}"
        )


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def _ack(key: str, reply: int) -> Ack:
    answer = _answer(key, reply)
    if isinstance(answer, LogError):
        raise answer
    return answer


def _answer(key: str, reply: int | bytes) -> Ack | LogError:
    if isinstance(reply, bytes):
        return LogUnavailableError(f"redis: {reply.decode(errors='replace')}")
    if reply < 0:
        return LeaseLostError(f"the log knows no producer with this token for {key!r}")
    return Ack(reply >> 1, bool(reply & 1))


def _lease(reply: Sequence[int]) -> Lease:
    if not reply:
        return Lease(held=False)
    tail, stop, followers, visited = reply
    return Lease(held=True, tail=tail, stop=bool(stop), followers=followers, visited=bool(visited))
