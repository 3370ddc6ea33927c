"""Leases: the places of one event loop in Redis, kept up by one task while there are some.

In Redis each set of places is a sorted set of their ids, scored by when they lapse on Redis's own
clock: one set for all places, one for each key. What is given back and what is renewed goes out
from that task alone, one after the other; so a renewal never brings back what has been given back.
"""

import asyncio
import hashlib
import itertools
import secrets
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Final, cast

from redis.asyncio import Redis
from redis.exceptions import RedisError

FAILURES: Final = (RedisError, OSError, TimeoutError)
"""What says that Redis cannot be reached."""

TIMEOUT: Final = 1.0
"""Seconds for which Redis may leave something unanswered."""

BATCH: Final = 500
"""Places that are renewed in one call: a script holds up everybody else."""

_NOW: Final = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# KEYS: all places, the places of the key. ARGV: the id, ms, the two bounds; -1 is no bound.
TAKE: Final = (
    _NOW
    + """
for i, name in ipairs({'total', 'each'}) do
    redis.call('ZREMRANGEBYSCORE', KEYS[i], '-inf', now)
    local bound = tonumber(ARGV[2 + i])
    if bound >= 0 and redis.call('ZCARD', KEYS[i]) >= bound then return name end
end
for i = 1, 2 do
    if i == 1 or tonumber(ARGV[4]) >= 0 then
        redis.call('ZADD', KEYS[i], now + ARGV[2], ARGV[1])
        redis.call('PEXPIRE', KEYS[i], ARGV[2])
    end
end
return ''
"""
)

# KEYS: sets of places. ARGV: ms, then the id that stands in each of them.
RENEW: Final = (
    _NOW
    + """
for i, key in ipairs(KEYS) do
    redis.call('ZADD', key, now + ARGV[1], ARGV[1 + i])
    redis.call('PEXPIRE', key, ARGV[1])
end
"""
)

# KEYS: sets of places. ARGV: the id that stands in each of them.
GIVE_BACK: Final = "for i, key in ipairs(KEYS) do redis.call('ZREM', key, ARGV[i]) end"


class Lease:
    """One place in Redis."""

    __slots__ = ("_leases", "id", "released", "sets")

    def __init__(self, leases: "Leases", id_: str, sets: tuple[str, ...]) -> None:
        self._leases = leases
        self.id: str = id_
        self.sets: tuple[str, ...] = sets
        self.released: bool = False

    def release(self) -> None:
        """Give the place back; once is enough."""
        if not self.released:
            self.released = True
            self._leases.give_back(self)


class Leases:
    """The places of one event loop.

    Args:
        client: The connection pool.
        prefix: What the keys in Redis begin with.
        seconds: How long a place lasts that is not renewed.
        total: Places in all; `None` for any number.
        each: Places for each key; `None` for any number.
        closes: Close the client's connections when no place is held any more.
        on_answer: Told of each answer of Redis: `None`, or why there is none.
    """

    def __init__(
        self,
        client: Redis,
        *,
        prefix: str,
        seconds: float,
        total: int | None,
        each: int | None,
        closes: bool,
        on_answer: Callable[[BaseException | None], None],
    ) -> None:
        self._client = cast("Any", client)  # redis-py types it by halves
        self._prefix = f"{{{prefix}}}:"  # one slot of a cluster
        self._seconds = seconds
        self._bounds = [-1 if bound is None else bound for bound in (total, each)]
        self._closes = closes
        self._on_answer = on_answer
        self._name = secrets.token_hex(8)
        self._numbers = itertools.count()
        self._held: dict[str, Lease] = {}
        self._given_back: list[Lease] = []
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def make(self, key: Hashable) -> Lease:
        """Return a lease that nobody holds yet.

        Raises:
            TypeError: Other processes would not know the key again.
        """
        sets: tuple[str, ...] = (f"{self._prefix}total",)
        if key is not None:
            sets = (*sets, f"{self._prefix}key:{_digest(key)}")
        return Lease(self, f"{self._name}:{next(self._numbers)}", sets)

    async def take(self, lease: Lease) -> str:
        """Take a place; return the name of the bound that is reached, "" if none is."""
        total, each = self._bounds
        has_key = len(lease.sets) > 1
        sets = lease.sets if has_key else (*lease.sets, f"{self._prefix}none")
        arguments = (lease.id, self._ms, total, each if has_key else -1)
        full: bytes | str = await self._ask(self._client.eval(TAKE, 2, *sets, *arguments))
        if not full:
            self.hold(lease)
        return full.decode() if isinstance(full, bytes) else full

    def hold(self, lease: Lease) -> Lease:
        """Renew a lease from now on."""
        self._held[lease.id] = lease
        self._begin_to_keep_up()
        return lease

    def give_back(self, lease: Lease) -> None:
        """Renew it no longer, and have Redis forget it."""
        self._held.pop(lease.id, None)
        self._given_back.append(lease)
        self._woken.set()
        self._begin_to_keep_up()

    def _begin_to_keep_up(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._keep_up(), name="sse_asgi leases of places")

    @property
    def _ms(self) -> int:
        return int(self._seconds * 1000)

    async def _keep_up(self) -> None:
        """Renew and give back, until nothing is held for a while."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._seconds / 3
        try:
            while True:
                await self._wait_until(due)
                try:
                    await self._send_given_back()
                    if loop.time() >= due:
                        due = loop.time() + self._seconds / 3
                        if not (self._held or self._given_back):
                            return
                        await self._renew()
                except FAILURES as error:
                    self._on_answer(error)
        finally:
            self._task = None
            if self._closes:
                await self._client.aclose()

    async def _wait_until(self, due: float) -> None:
        try:
            async with asyncio.timeout_at(due):
                await self._woken.wait()
        except TimeoutError:
            pass
        self._woken.clear()

    async def _send_given_back(self) -> None:
        given_back, self._given_back = self._given_back, []
        for some in _batches(given_back):
            await self._run(GIVE_BACK, some)

    async def _renew(self) -> None:
        for some in _batches([*self._held.values()]):
            held = [lease for lease in some if lease.id in self._held]
            await self._run(RENEW, held, self._ms)

    async def _run(self, script: str, leases: list[Lease], *arguments: int) -> None:
        pairs = [(name, lease.id) for lease in leases for name in lease.sets]
        if pairs:
            keys, ids = zip(*pairs, strict=True)
            await self._ask(self._client.eval(script, len(keys), *keys, *arguments, *ids))

    async def _ask(self, answer: Awaitable[Any]) -> Any:  # noqa: ANN401 - from redis-py
        async with asyncio.timeout(TIMEOUT):
            given = await answer
        self._on_answer(None)
        return given


def _batches(leases: list[Lease]) -> list[list[Lease]]:
    return [leases[at : at + BATCH] for at in range(0, len(leases), BATCH)]


def _digest(key: Hashable) -> str:
    """Return a name for a key: the same in every process, and no secret."""
    _check_stable(key)
    return hashlib.sha256(repr(key).encode()).hexdigest()[:32]


def _check_stable(key: Hashable) -> None:
    if isinstance(key, tuple):
        for each in cast("tuple[Hashable, ...]", key):
            _check_stable(each)
    elif type(key) not in (str, bytes, int, bool, type(None)):
        kind = type(key).__qualname__
        raise TypeError(
            "per must return a str, bytes, an int or a tuple of these for RedisLimits, not a value "
            f"of type {kind}; give str() of it"
        )
