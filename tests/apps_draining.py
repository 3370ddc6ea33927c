"""An app that is drained: streams of two seconds, a probe, and an address that begins the end."""

import asyncio
import os

from sse_asgi import EventStream, Shutdown

WORDS = [f"word-{number} " for number in range(20)]
PACE = 0.1  # seconds
shutdown = Shutdown(grace=30)


async def answer(request):
    yield f"{os.getpid()} "
    for word in WORDS:
        yield word
        await asyncio.sleep(PACE)


stream = EventStream(answer, shutdown=shutdown)


async def say(send, text):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": text.encode()})


async def app(scope, receive, send):
    path = scope.get("path")
    if path == "/ready":  # the tests' own: which process answers
        await say(send, os.environ["SSE_TEST_TOKEN"])
    elif path == "/health":
        await shutdown.ready(scope, receive, send)
    elif path == "/drain":
        shutdown.begin()
        await say(send, "draining")
    else:
        await stream(scope, receive, send)
