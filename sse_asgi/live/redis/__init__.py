"""`RedisLog`: generations in Redis or Valkey, for any number of processes. Extra `redis`."""

try:
    from sse_asgi.live.redis.log import RedisLog
except ModuleNotFoundError as _error:
    if _error.name != "redis":
        raise
    raise ImportError("RedisLog needs redis-py: pip install 'sse-asgi[redis]'") from _error

__all__ = ["RedisLog"]
