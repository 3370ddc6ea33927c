"""An app under the ASGI instrumentation, and an address that says what OpenTelemetry was told."""

import asyncio
import json
import os

from sse_asgi import EventStream
from tests.telemetry.told import Told

told = Told()


async def words(request):
    for word in ("a", "b", "c"):
        yield word
        await asyncio.sleep(0.01)


async def fails(request):
    yield "a"
    await asyncio.sleep(0.01)
    raise LookupError


async def stays(request):
    yield "a"
    await asyncio.Event().wait()


telemetry = told.telemetry()
PATHS = {
    f"/{source.__name__}": told.traced(EventStream(source, telemetry=telemetry), exclude_spans=None)
    for source in (words, fails, stays)
}


async def app(scope, receive, send):
    if scope.get("path") in PATHS:
        await PATHS[scope["path"]](scope, receive, send)
        return
    said = os.environ["SSE_TEST_TOKEN"] if scope.get("path") == "/ready" else json.dumps(what())
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": said.encode()})


def what():
    servers = [span for span in told.spans if span.kind.name == "SERVER"]
    return {
        "spans": [
            [span.attributes.get("sse.outcome"), span.status.status_code.name] for span in servers
        ],
        "active": [value for _, value in told.metrics.get("sse.server.active_streams", ())],
        "outcomes": {
            attributes["sse.outcome"]: count
            for attributes, count in told.metrics.get("sse.server.stream.duration", ())
        },
    }
