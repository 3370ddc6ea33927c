"""An app for processes that share their places: `uvicorn tests.limits.redis_app:app`."""

import asyncio
import os

from sse_asgi import EventStream
from sse_asgi.limits.redis import RedisLimits

limits = RedisLimits(os.environ["REDIS_URL"], prefix="places", total=3, lease=1.0)


async def source(request):
    yield str(os.getpid())
    await asyncio.Event().wait()


app = EventStream(source, limits=limits, shutdown=None)
