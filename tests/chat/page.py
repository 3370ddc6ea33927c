"""The page with `useChat`, beside the chat app: browsers ask their own origin."""

import os
from pathlib import Path

PAGE = "<!doctype html><meta charset=utf-8><div id=root></div><script src='/page.js?{}'></script>"


async def serve_page(scope, send):
    """Answer `/ready`, and `/page` and `/page.js`, whose query is AI SDK's major version."""
    version = scope["query_string"].decode().partition("&")[0]
    kind = b"text/html"
    if scope["path"] == "/ready":
        body = os.environ["SSE_TEST_TOKEN"].encode()
    elif scope["path"] == "/page":
        body = PAGE.format(version).encode()
    else:
        body = Path(os.environ["SSE_TEST_PAGES"], f"use-chat-{version}.js").read_bytes()
        kind = b"text/javascript"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
