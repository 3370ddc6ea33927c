"""The client: redis-py's, with its pools and retries; and what of it is used at one event loop.

A `RedisLog` gets a URL, or a client of the application's: `Redis`, one made by `Sentinel`, or
`RedisCluster`. The latter has a pool for each node, so everything here goes by nodes.
"""

import asyncio
import math
import re
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.client import NEVER_DECODE
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    ClusterDownError,
    MasterDownError,
    MovedError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
)

from sse_asgi.errors import LogError, LogRefusedError, LogUnavailableError, shown

FAILURES: Final = (RedisError, RedisClusterException, OSError, TimeoutError)
"""What redis-py raises where the server fails or refuses."""

REDIRECTIONS: Final = (MovedError, AskError, TryAgainError, ClusterDownError)
"""What a node of a cluster answers about keys that it does not have, or not yet."""

Command = Sequence[str | bytes | int]

_hiredis: ModuleType | None
try:
    _hiredis = import_module("hiredis")
except ImportError:  # some platforms have none
    _hiredis = None

_PASSING = (OutOfMemoryError, ReadOnlyError, MasterDownError, *REDIRECTIONS)
_PASSING_CODES = re.compile(
    r"\b(OOM|READONLY|MISCONF|LOADING|CLUSTERDOWN|TRYAGAIN|MASTERDOWN|NOREPLICAS|BUSY)\b"
)
_SCHEMES = ("redis", "rediss", "unix")
_OPTIONS = ("db", "username", "password", "socket_keepalive")  # and those of TLS
_REMEDY = "pass the server's URL, redis://127.0.0.1:6379/0 for instance"


def log_error(cause: BaseException) -> LogError:
    """Return the log's error for what redis-py raised, which it carries as its cause."""
    error: LogError
    text = str(cause)[:300] or type(cause).__name__
    if isinstance(cause, MovedError):
        error = LogRefusedError(
            f"redis: MOVED {text}: the server is one of a cluster; give RedisLog a RedisCluster"
        )
    elif _is_refusal(cause):
        error = LogRefusedError(
            f"redis: {text}; check the user's rights, the password and the server's version"
        )
    else:
        error = LogUnavailableError(f"redis: {text}; check the address, and that the server runs")
    error.__cause__ = cause
    return error


def _is_refusal(cause: BaseException) -> bool:
    # Only what the server says: redis-py raises an AttributeError, for instance, where it learns of
    # a failover while it uses a connection.
    # Over a socket in the file system redis-py wraps what the server says to a new connection.
    if isinstance(cause.__cause__ or cause, AuthenticationError | AuthorizationError):
        return True
    return (
        isinstance(cause, ResponseError)
        and not isinstance(cause, _PASSING)
        and not _PASSING_CODES.search(str(cause))
    )


def check_client(target: object) -> None:
    """Check what a `RedisLog` is given.

    Raises:
        TypeError: It is neither a string nor one of redis-py's asyncio clients.
        ValueError: It is no URL of Redis, or has an option that `RedisLog` sets itself.
    """
    if isinstance(target, Redis | RedisCluster):
        return
    if not isinstance(target, str):
        kind = f"{type(target).__module__}.{type(target).__qualname__}"
        raise TypeError(
            f"url_or_client must be a str, a redis.asyncio.Redis or a RedisCluster, not of type "
            f"{kind}; {_REMEDY}"
        )
    scheme, separator, _ = target.partition("://")
    if not separator:  # not shown: it may hold a password
        raise ValueError(f"url must begin with redis://, rediss:// or unix://; {_REMEDY}")
    if scheme.lower() not in _SCHEMES:
        raise ValueError(
            f"url must begin with redis://, rediss:// or unix://, not {shown(scheme)}; {_REMEDY}"
        )
    for name, _ in parse_qsl(urlsplit(target).query, keep_blank_values=True):
        if name not in _OPTIONS and not name.startswith("ssl_"):
            raise ValueError(
                f"url must not set {shown(name)}: RedisLog sets its connections up itself, with "
                "its option timeout; to choose more, pass a client, "
                "redis.asyncio.Redis.from_url(…) for instance"
            )


class _Retry(Retry):
    """Repeats nothing that the server refuses: redis-py takes a wrong password for an outage."""

    async def call_with_retry(self, do: Any, fail: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401 - as redis-py's
        """Call, and call again if that may help."""

        async def attempt() -> Any:  # noqa: ANN401 - as redis-py's
            try:
                return await do()
            except RedisError as error:
                if _is_refusal(error):
                    raise ResponseError(str(error)) from error
                raise

        return await super().call_with_retry(attempt, fail, *args, **options)


def _open(url: str, timeout: float) -> Redis:
    """Return a client for a URL. It repeats what fails, for no longer than `timeout`."""
    kind: Any = Redis  # redis-py types it by halves
    client: Redis = kind.from_url(
        url,
        protocol=2,
        socket_timeout=None,  # each exchange has a deadline, which costs less than one a reply
        socket_connect_timeout=timeout,
        retry=_Retry(ExponentialBackoff(cap=0.5, base=0.05), max(1, int(timeout * 2))),
        client_name="sse_asgi",
    )
    return client


class Client:
    """A redis-py client at one event loop.

    Args:
        target: A URL, or a client.
        timeout: Seconds for which the server may leave something unanswered.

    Attributes:
        clustered: Whether it is a `RedisCluster`.
        timeout: As given.
    """

    def __init__(self, target: "str | Redis | RedisCluster", *, timeout: float) -> None:
        self.timeout = timeout
        self._own = isinstance(target, str)
        self._client: Any = _open(target, timeout) if isinstance(target, str) else target
        self.clustered: bool = isinstance(target, RedisCluster)
        self._pools: dict[Any, Any] = {}  # by connection; redis-py may have dropped the node

    async def ready(self) -> None:
        """Learn which node has which keys, unless that is known.

        Raises:
            LogError: The cluster cannot be asked.
        """
        if self.clustered:
            try:
                async with asyncio.timeout(self.timeout):
                    await self._client.initialize()
            except FAILURES as error:
                raise log_error(root(error)) from root(error)

    def node_of(self, key: str) -> str:
        """Return the name of the node that has a key: the same for all without a cluster."""
        if not self.clustered:
            return ""
        name: str = self._client.get_node_from_key(key).name
        return name

    async def take(self, node: str) -> Any:  # noqa: ANN401 - redis-py's
        """Take a connection to a node from its pool; give it back when it is not needed any more.

        Raises:
            OSError, RedisError: There is none, or it cannot be made.
        """
        if not self.clustered:
            return await self._client.connection_pool.get_connection()
        pool = self._client.get_node(node_name=node)
        if pool is None:
            raise ConnectionError(f"the cluster has no node {node} any more")
        connection = pool.acquire_connection()
        self._pools[connection] = pool
        return connection

    async def give_back(self, node: str, connection: Any) -> None:  # noqa: ANN401 - redis-py's
        """Give a connection back that was taken."""
        if not self.clustered:
            await self._client.connection_pool.release(connection)
            return
        if self._client.get_node(node_name=node) is not self._pools[connection]:
            await connection.disconnect(nowait=True)
        self._pools.pop(connection).release(connection)

    async def execute(self, *command: str | bytes | int) -> Any:  # noqa: ANN401 - any reply
        """Execute one command as redis-py does: with its redirections, and its retries."""
        return await self._client.execute_command(*command, **{NEVER_DECODE: True})

    async def aclose(self) -> None:
        """Close the client, unless it is the application's."""
        if self._own:
            await self._client.aclose()


def packed(connection: Any, commands: Sequence[Command]) -> Any:  # noqa: ANN401 - redis-py's
    """Return commands as they are sent; redis-py itself takes three times as long for that."""
    if _hiredis is None:
        return connection.pack_commands(commands)
    return b"".join([_hiredis.pack_command(tuple(command)) for command in commands])


def root(error: BaseException) -> BaseException:
    """Return why something took too long, if it is known: what redis-py was about to repeat."""
    found: BaseException | None = error
    while found is not None:
        if isinstance(found, FAILURES) and str(found):
            return found
        found = found.__cause__ or found.__context__
    return error


def milliseconds(seconds: float) -> int:
    """Return a time as Redis takes it; without an end it is a hundred years."""
    return max(1, round(min(seconds, 100 * 365 * 86_400.0) * 1000))


def is_seconds(value: float) -> bool:
    """Say whether this is a time that has an end."""
    return 0 < value < math.inf
