"""The page with `useChat`, beside the chat app: browsers ask their own origin."""

import os
from pathlib import Path

PAGE = b"<!doctype html><meta charset=utf-8><div id=root></div><script src=/page.js></script>"


async def serve_page(scope, send):
    bodies = {"/ready": os.environ["SSE_TEST_TOKEN"].encode(), "/page": PAGE}
    body = bodies.get(scope["path"])
    kind = b"text/html"
    if body is None:
        version = scope["query_string"].decode()
        body = Path(os.environ["SSE_TEST_PAGES"], f"use-chat-{version}.js").read_bytes()
        kind = b"text/javascript"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
