"""The client: redis-py's, made for a URL or the application's own, and what its errors mean.

A `RedisLog` gets a URL, or a client: `Redis`, one made by `Sentinel`, or `RedisCluster`. The latter
has a pool for each node, so connections go by nodes here; any other server is one node.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.client import NEVER_DECODE
from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    MovedError,
    RedisClusterException,
    RedisError,
    ResponseError,
)

from sse_asgi.errors import LogError, LogRefusedError, LogUnavailableError, shown

FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What redis-py raises where the server fails or refuses."""

PAUSE: Final = 0.2
"""Seconds after which is tried again what the server did not answer, or does not have yet."""

_PASSING = re.compile(  # names of redis-py's errors; and of the server's, which redis-py may leave
    r"(NoScript|OutOfMemory|ReadOnly|Moved|Ask|TryAgain|ClusterDown|MasterDown)Error\b"
    r"|\b(OOM|READONLY|MISCONF|LOADING|NOREPLICAS|BUSY|MOVED|ASK|TRYAGAIN|CLUSTERDOWN|MASTERDOWN)\b"
)
_OPTIONS = re.compile(r"db|username|password|socket_keepalive|ssl_.*")
_redis_py: Any = redis  # it types its version by halves
_WITH_CLUSTERS = 6, 4  # an older redis-py cannot take back a connection that was lent
_REMEDY = "pass the server's URL, redis://127.0.0.1:6379/0 for instance"


def check_client(target: object) -> None:
    """Check what a `RedisLog` is given; raise a clear error for what it cannot work with."""
    if isinstance(target, RedisCluster) and _redis_py.VERSION < _WITH_CLUSTERS:
        raise ImportError(
            f"RedisLog needs redis-py 6.4 or later for a RedisCluster, and this is "
            f"{_redis_py.__version__}: pip install 'redis>=6.4'"
        )
    if isinstance(target, Redis | RedisCluster):
        return
    if not isinstance(target, str):
        kind = f"{type(target).__module__}.{type(target).__qualname__}"
        raise TypeError(
            f"url_or_client must be a str, a redis.asyncio.Redis or a RedisCluster, not of type "
            f"{kind}; {_REMEDY}"
        )
    scheme, separator, _ = target.partition("://")
    if not separator or scheme.lower() not in {"redis", "rediss", "unix"}:
        found = f", not {shown(scheme)}" if separator else ""  # else it may hold a password
        raise ValueError(f"url must begin with redis://, rediss:// or unix://{found}; {_REMEDY}")
    for name, _ in parse_qsl(urlsplit(target).query, keep_blank_values=True):
        if not _OPTIONS.fullmatch(name):
            raise ValueError(
                f"url must not set {shown(name)}: RedisLog sets its connections up itself, with "
                "its option timeout; to choose more, pass a client, "
                "redis.asyncio.Redis.from_url(…) for instance"
            )


def log_error(cause: BaseException) -> LogError:
    """Return the log's error for what redis-py raised, which it carries as its cause."""
    error: LogError
    text = str(cause)[:300].rstrip(".") or type(cause).__name__
    if isinstance(cause, MovedError) or text.startswith("MOVED "):
        place = text.removeprefix("MOVED ")
        error = LogRefusedError(
            f"redis: MOVED {place}: the server is one of a cluster; give RedisLog a RedisCluster"
        )
    elif is_refusal(cause):
        error = LogRefusedError(
            f"redis: {text}; check the user's rights, the password and the server's version"
        )
    else:
        error = LogUnavailableError(f"redis: {text}; check the address, and that the server runs")
    error.__cause__ = cause
    return error


def is_refusal(cause: BaseException) -> bool:
    """Tell whether the server has refused something, and would refuse it again."""
    # Over a socket in the file system redis-py wraps what the server says to a new connection.
    if isinstance(cause.__cause__ or cause, AuthenticationError | AuthorizationError):
        return True
    name = type(cause).__name__
    return isinstance(cause, ResponseError) and not _PASSING.search(f"{name} {cause}")


class Client:
    """A redis-py client at one event loop, made for a URL or given."""

    def __init__(self, target: "str | Redis | RedisCluster", *, timeout: float) -> None:
        self.clustered: bool = isinstance(target, RedisCluster)
        self.timeout: float = timeout
        self._client: Any = _open(target, timeout) if isinstance(target, str) else target
        self._own = isinstance(target, str)

    async def node_of(self, key: str) -> str:
        """Return the name of the node that has a key: the same for all without a cluster."""
        if not self.clustered:
            return ""
        try:
            async with asyncio.timeout(self.timeout):
                await self._client.initialize()  # which does nothing if all is known
            name: str = self._client.get_node_from_key(key).name
        except FAILURES as error:
            raise log_error(error) from error
        return name

    @contextlib.asynccontextmanager
    async def connection(self, node: str) -> AsyncGenerator[Any, None]:
        """Lend a connection to a node from its pool, and disconnect it after use."""
        patience = 1.25 * self.timeout  # redis-py's own, which says what it waits for, ends before
        async with asyncio.timeout(patience):
            if self.clustered:
                pool = self._client.get_node(node_name=node)
                if pool is None:
                    raise ConnectionError(f"the cluster has no node {node} any more")
                connection = pool.acquire_connection()
            else:
                pool = self._client.connection_pool
                connection = await pool.get_connection()
        try:
            async with asyncio.timeout(patience):
                await connection.connect()  # Sentinel is only asked by this who the master is
            yield connection
        finally:
            await connection.disconnect(nowait=True)
            released = pool.release(connection)
            if released is not None:
                await released

    async def execute(self, *command: str | bytes | int) -> Any:  # noqa: ANN401 - any reply
        """Execute one command as redis-py does: with its redirections, and its retries."""
        return await self._client.execute_command(*command, **{NEVER_DECODE: True})

    async def aclose(self) -> None:
        """Close the client, unless it is the application's."""
        if self._own:
            with contextlib.suppress(*FAILURES):
                await self._client.aclose()


def _open(url: str, timeout: float) -> Redis:
    """Return a client for a URL, which repeats nothing: whoever calls does."""
    kind: Any = Redis  # redis-py types it by halves
    client: Redis = kind.from_url(
        url,
        protocol=2,
        socket_timeout=None,  # each exchange has a deadline, which costs less than one a reply
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        client_name="sse_asgi",
    )
    return client


async def end(task: "asyncio.Task[None]") -> None:
    """Cancel a task until it ends.

    While it sends, under Python 3.11, redis-py may swallow a cancellation.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait((task,), timeout=0.1)
