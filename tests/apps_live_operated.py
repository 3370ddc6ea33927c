"""A chat app whose live answers are measured, bounded and compressed, as a real server has it."""

import asyncio
import json
import os

from sse_asgi.chat import ChatApp
from sse_asgi.limits import Limits
from sse_asgi.live import Live
from tests.telemetry.told import Told

told = Told()
waiting = set()


async def generate(chat):
    go = asyncio.Event()
    waiting.add(go)
    try:
        yield "Hel"
        await go.wait()
        yield "lo"
    finally:
        waiting.discard(go)


def shared():
    """Return the log and the limits of several processes, or of this one."""
    if "LIVE_URL" not in os.environ:
        return None, Limits(2)
    from sse_asgi.limits.redis import RedisLimits
    from sse_asgi.live.redis import RedisLog

    url = os.environ["LIVE_URL"]
    return (
        RedisLog(url, prefix="operated", lease=2),
        RedisLimits(url, prefix="operated", total=1, lease=2),
    )


log, limits = shared()
telemetry = told.telemetry()
live = Live(log, telemetry=telemetry)
chat = told.traced(
    ChatApp(
        generate,
        live=live,
        models=("mine",),
        telemetry=telemetry,
        limits=limits,
        compress=("gzip",),
    )
)


async def app(scope, receive, send):
    path = scope.get("path")
    if path not in ("/ready", "/go", "/told"):
        await chat(scope, receive, send)
        return
    if path == "/go":
        for go in waiting:
            go.set()
    said = os.environ["SSE_TEST_TOKEN"] if path == "/ready" else json.dumps(what())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})


def what():
    metrics = told.metrics
    return {
        "spans": [
            [span.attributes.get(name) for name in ("sse.outcome", "sse.generation.outcome")]
            for span in told.spans
            if span.kind.name == "SERVER" and "sse.outcome" in span.attributes
        ],
        "counts": {name: sum(value for _, value in points) for name, points in metrics.items()},
    }
