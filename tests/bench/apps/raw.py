"""The least that a hand-written app can do: one `send` per chunk.

No disconnect handling, no keep-alive, no encoding of line breaks. Every ratio is to this.
"""

from tests.bench.apps.lifespan import answer_lifespan
from tests.bench.sources import SOURCES

START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-store"),
    ],
}
END = {"type": "http.response.body", "body": b"", "more_body": False}


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await answer_lifespan(receive, send)
        return
    await send(START)
    async for chunk in SOURCES[scope["path"]]():
        body = f"data: {chunk}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send(END)
