"""A page, and the streams that it listens to."""

import asyncio
import json
import os
from pathlib import Path
from urllib.parse import parse_qsl

from sse_asgi import EventStream, ServerSentEvent
from tests.apps import lifespan

SCRIPT = Path(__file__).parent.parent / "docs" / "examples" / "in_the_browser.mjs"
PAGE = b"""<!doctype html><script type="module">
import { listen, ask } from "/in_the_browser.mjs";
Object.assign(window, { listen, ask, texts: [], ended: null });
window.show = (text) => texts.push(text);
window.begun = true;
</script>"""
steps, requests, outcomes = asyncio.Semaphore(0), [], []


async def answer(request):
    """Give a chunk for each step that the test takes."""
    requests.append(request.method)
    yield ServerSentEvent(retry=50)  # so soon would the browser ask again
    prompt = (await request.json())["prompt"] if request.method == "POST" else "one two\nlines end"
    for word in prompt.split(" "):
        await steps.acquire()
        if word == "fail":
            raise RuntimeError("the model fell over")
        yield word


async def send_all(send, body, content_type):
    headers = [(b"content-type", content_type)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


stream = EventStream(answer, on_complete=lambda transcript: outcomes.append(transcript.outcome))


async def app(scope, receive, send):
    """Route one request."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    path, query = scope["path"], dict(parse_qsl(scope["query_string"].decode()))
    if path == "/answer":
        return await stream(scope, receive, send)
    if path == "/ready":
        return await send_all(send, os.environ["SSE_TEST_TOKEN"].encode(), b"text/plain")
    if path == "/in_the_browser.mjs":
        return await send_all(send, SCRIPT.read_bytes(), b"text/javascript")
    if path == "/step":
        for _ in range(int(query["times"])):
            steps.release()
    if path in ("/step", "/state"):
        state = json.dumps({"requests": requests, "outcomes": outcomes})
        return await send_all(send, state.encode(), b"application/json")
    return await send_all(send, PAGE, b"text/html")
