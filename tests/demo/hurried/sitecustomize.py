"""Shortens two waits of the demo, for tests that put this directory on its PYTHONPATH.

Python imports this module when it starts, in worker processes too: the tests run the command that
users run. SSE_TEST_HURRY names a file: once it is there, the embedded model hardly pauses between
two words, which it does as ever until then. SSE_TEST_REDIS_TIMEOUT is how many seconds pass before
a Redis that is away is given up.
"""

import functools
import os
from collections.abc import Iterator
from pathlib import Path


class Pace:
    """The shortest and the longest pause between two words, for the next two words."""

    def __init__(self, usual: tuple[float, float], hurry: Path) -> None:
        self._usual, self._hurry = usual, hurry

    def __iter__(self) -> Iterator[float]:
        return iter((0.001, 0.004) if self._hurry.exists() else self._usual)


if "SSE_TEST_HURRY" in os.environ:
    from sse_asgi.demo import source

    source.TOKEN_DELAY = Pace(source.TOKEN_DELAY, Path(os.environ["SSE_TEST_HURRY"]))

if "SSE_TEST_REDIS_TIMEOUT" in os.environ:
    from sse_asgi.live import redis

    timeout = float(os.environ["SSE_TEST_REDIS_TIMEOUT"])
    redis.RedisLog = functools.partial(redis.RedisLog, timeout=timeout)
