"""A chat app whose answers outlive their clients, as a real server serves it."""

import asyncio
import os

from sse_asgi.chat import ChatApp
from sse_asgi.live import Live
from tests.chat.apps import note
from tests.chat.page import serve_page
from tests.live.viewers import words

TEXT = "".join(words(60))


async def generate(chat):
    note("call")
    for chunk in words(60):
        yield chunk
        await asyncio.sleep(float(os.environ.get("LIVE_PAUSE", "0.02")))


def complete(transcript):
    note("complete", outcome=transcript.outcome, text=transcript.text)


def _log():
    if "LIVE_URL" not in os.environ:
        return None
    from sse_asgi.live.redis import RedisLog

    return RedisLog(os.environ["LIVE_URL"], prefix="chat")


live = Live(_log(), drain=0.2)
chat_app = ChatApp(generate, live=live, on_complete=complete)


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] in ("/ready", "/page", "/page.js"):
        await serve_page(scope, send)
    else:
        await chat_app(scope, receive, send)
