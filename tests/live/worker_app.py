"""An ASGI application with generations, for workers in processes of their own.

`POST /start/{id}?count=100&pause=0.01` starts one that gives `words(count)`; the rest is `Live`.
Its lifespan closes `Live`. What `on_complete` is told is appended to a file.
"""

import json
import os
from pathlib import Path
from urllib.parse import parse_qsl

from sse_asgi import Shutdown
from sse_asgi.live import Live
from sse_asgi.live.redis import RedisLog
from tests.live.viewers import paced, words

live = Live(
    RedisLog(os.environ["LIVE_URL"], prefix="worker", lease=float(os.environ["LIVE_LEASE"])),
    authorize=lambda scope, key, owner: True,  # whoever asks may stop, too
    shutdown=Shutdown(grace=float(os.environ.get("LIVE_GRACE", "5"))),
)


def report(transcript):
    line = json.dumps({"pid": os.getpid(), "text": transcript.text, "outcome": transcript.outcome})
    with Path(os.environ["LIVE_REPORT"]).open("a") as file:
        file.write(line + "\n")


async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        await lifespan(receive, send)
    elif scope["path"].startswith("/start/"):
        options = dict(parse_qsl(scope["query_string"].decode()))
        source = paced(words(int(options["count"])), float(options["pause"]))
        generation = await live.start(source, id=scope["path"][7:], on_complete=report)
        body = json.dumps({"started": generation.started, "pid": os.getpid()}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})
    else:
        await live(scope, receive, send)


async def lifespan(receive, send):
    while True:
        message = await receive()
        if message["type"] == "lifespan.shutdown" and "LIVE_DRAIN" in os.environ:
            await live.aclose(drain=float(os.environ["LIVE_DRAIN"]))
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
