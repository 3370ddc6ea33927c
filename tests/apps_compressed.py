"""Compressed streams that go on when they are told to: so it shows whether an event waits."""

import asyncio
import os

from sse_asgi import EventStream, EventStreamMiddleware
from sse_asgi.chat import ChatApp
from sse_asgi.dialects import ChatCompletions
from tests.chat.page import serve_page

CODINGS = tuple(os.environ["SSE_TEST_COMPRESS"].split(","))
waiting = set()


async def say():
    go = asyncio.Event()
    waiting.add(go)
    try:
        yield "Hel"
        await go.wait()
        yield "lo"
    finally:
        waiting.discard(go)


async def endpoint(scope, receive, send):
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    async for word in say():
        body = f"data: {word}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


chat = ChatApp(lambda chat: say(), compress=CODINGS)
APPS = {
    "/events": EventStream(lambda request: say(), framing=ChatCompletions("m"), compress=CODINGS),
    "/middleware": EventStreamMiddleware(endpoint, compress=CODINGS),
}


async def app(scope, receive, send):
    path = scope.get("path")
    if path in ("/ready", "/page", "/page.js"):
        await serve_page(scope, send)
    elif path == "/go":
        for go in waiting:
            go.set()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"true"})
    else:
        await APPS.get(path, chat)(scope, receive, send)
