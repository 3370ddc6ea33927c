"""RedisLimits: places for streams, counted for many processes. Extra `redis`."""

import asyncio
import logging
import time
from collections.abc import Hashable
from functools import partial
from typing import Any, Final, Protocol
from weakref import WeakKeyDictionary

try:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff
except ModuleNotFoundError as _error:
    if _error.name != "redis":
        raise
    raise ImportError("RedisLimits needs redis-py: pip install 'sse-asgi[redis]'") from _error

from sse_asgi.around import Refusal
from sse_asgi.errors import shown
from sse_asgi.host.loops import in_asyncio
from sse_asgi.limits.admission import Admitted
from sse_asgi.limits.leases import FAILURES, Lease, Leases
from sse_asgi.limits.limits import Limits, PerKey
from sse_asgi.source.request import Request

OUTAGE: Final = 5.0
"""Seconds for which a Redis that has not answered is not asked again."""

_logger = logging.getLogger("sse_asgi")


class _Held(Protocol):
    def release(self) -> None: ...


class RedisLimits(Limits):
    """Bound the streams that are open at once in all processes that share a Redis.

    What `Limits` is for one process. Each place is a lease, which the process renews three times in
    its time; the places of a process that dies are free when that is over. While Redis is out of
    reach each process applies the bounds alone, and says so once in the log. Needs asyncio.

    Args:
        redis: A URL, or a `redis.asyncio.Redis`, which stays yours to close.
        prefix: What the keys in Redis begin with: one for each set of places.
        total: Streams in all; `None` for any number.
        per: As for `Limits`; the key must be a `str`, `bytes`, an `int` or a tuple of these. Redis
            holds a digest of it.
        each: Streams for each key.
        lease: Seconds after which the places of a dead process are free, 1 or more.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        redis: "str | Redis",
        *,
        prefix: str,
        total: int | None = None,
        per: PerKey | None = None,
        each: int | None = None,
        lease: float = 30.0,
    ) -> None:
        super().__init__(total, per=per, each=each)
        _check_redis(redis)
        _check_prefix(prefix)
        _check_lease(lease)
        self._redis = redis
        self._prefix = prefix
        self._lease = float(lease)
        self._leases: WeakKeyDictionary[asyncio.AbstractEventLoop, Leases] = WeakKeyDictionary()
        self._asks_again = 0.0
        self._is_out = False

    async def admit(self, request: Request) -> Admitted | Refusal:
        """Take a place for a request, or say why there is none.

        A cancellation takes none: what Redis grants meanwhile is given back.
        """
        if not in_asyncio():
            raise RuntimeError("RedisLimits needs asyncio; under trio use Limits")
        key = self._key_of(request)
        taken = self._places.take(key)  # no more in this process than in all
        if isinstance(taken, Refusal):
            return taken
        try:
            full = await self._lease_place(key)
        except BaseException:
            taken.release()
            raise
        if isinstance(full, Lease):
            return Admitted(_Both(taken, full))
        taken.release()
        return self._places.full() if full == "total" else self._places.full_for_key()

    async def _lease_place(self, key: Hashable) -> "Lease | str":
        """Return the lease of a place, or the bound that is reached."""
        leases = self._leases_of_loop()
        lease = leases.make(key)
        if time.monotonic() < self._asks_again:
            return leases.hold(lease)
        asking = asyncio.ensure_future(leases.take(lease))
        try:
            full = await asyncio.shield(asking)
        except asyncio.CancelledError:
            asking.add_done_callback(partial(_give_back, lease))
            raise
        except FAILURES as error:
            self._note_answer(error)
            return leases.hold(lease)
        return full or lease

    def _leases_of_loop(self) -> Leases:
        """Return what keeps the leases of this event loop; connections belong to one."""
        loop = asyncio.get_running_loop()
        if loop not in self._leases:
            is_url = isinstance(self._redis, str)
            self._leases[loop] = Leases(
                _client_of(self._redis) if isinstance(self._redis, str) else self._redis,
                prefix=self._prefix,
                seconds=self._lease,
                total=self._places.total,
                each=self._places.each,
                closes=is_url,
                on_answer=self._note_answer,
            )
        return self._leases[loop]

    def _note_answer(self, error: BaseException | None) -> None:
        if error is None:
            self._is_out = False
            return
        self._asks_again = time.monotonic() + OUTAGE
        if not self._is_out:
            self._is_out = True
            _logger.error("RedisLimits counts in this process alone: %s", type(error).__name__)


class _Both:
    """A place in this process and one in Redis."""

    def __init__(self, *places: _Held) -> None:
        self._places = places

    def release(self) -> None:
        for place in self._places:
            place.release()


def _give_back(lease: Lease, asking: "asyncio.Future[str]") -> None:
    """Give back what came after its request was cancelled; perhaps a lost answer was a yes."""
    if not asking.cancelled() and (asking.exception() is not None or not asking.result()):
        lease.release()


def _client_of(url: str) -> Redis:
    kind: Any = Redis  # redis-py types it by halves
    client: Redis = kind.from_url(url, client_name="sse_asgi", retry=Retry(NoBackoff(), 0))
    return client


def _check_redis(redis: object) -> None:
    if isinstance(redis, str):
        scheme = redis.partition("://")[0]  # the rest may hold a password
        if scheme not in ("redis", "rediss", "unix") or "://" not in redis:
            raise ValueError(
                f"redis must begin with redis://, rediss:// or unix://, not {shown(scheme)}"
            )
        _client_of(redis)  # what is wrong with the rest of it raises here
    elif not isinstance(redis, Redis):
        kind = type(redis).__qualname__
        raise TypeError(f"redis must be a URL or a redis.asyncio.Redis, not of type {kind}")


def _check_prefix(prefix: object) -> None:
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, not {prefix!r} ({type(prefix).__qualname__})")
    if not prefix or set(prefix) & set("{}"):
        raise ValueError(f"prefix must be a word without braces, not {prefix!r}")


def _check_lease(lease: object) -> None:
    if isinstance(lease, bool) or not isinstance(lease, (int, float)):
        kind = type(lease).__qualname__
        raise TypeError(f"lease must be a number of seconds, not {lease!r} ({kind})")
    if not 1 <= lease < float("inf"):
        raise ValueError(f"lease must be 1 or more seconds, not {lease!r}")
