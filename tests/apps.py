"""The apps under test, as servers in subprocesses import them.

`/stream/<name>?run=<run>` is an event stream from the source of that name; everything that
happens to it is noted under the name of the run in the file that SSE_TEST_REPORT names.
Times are `time.monotonic()`, which all processes of a Linux machine share.

Side endpoints: `/ready` answers with SSE_TEST_TOKEN, `/state` tells how far a run has come,
`/step` lets its source go on, `/release` wakes its blocked threads, `/tasks` lists what the
event loop has running, `/pool` borrows a worker thread, and `/collect` collects the garbage.
"""

import asyncio
import gc
import json
import os
import time
from collections import Counter
from functools import partial
from urllib.parse import parse_qsl

import anyio.to_thread
import sniffio

from sse_asgi import EventStream
from tests.sources import SOURCES, Run

RUNS: dict[str, Run] = {}


async def stream(name, query, scope, receive, send):
    """Run one source as an event stream under observation."""
    source, options = SOURCES[name]
    run = RUNS[query["run"]] = Run(query["run"])
    app = EventStream(partial(source, run), on_complete=run.on_complete, **options)
    try:
        await app(scope, receive, partial(run.send, send))
    except BaseException as error:
        run.note("raised", error=repr(error))
        raise
    finally:
        run.note("returned")


def trio_tasks():
    import trio

    def below(task):
        yield task.name
        for nursery in task.child_nurseries:
            for child in nursery.child_tasks:
                yield from below(child)

    return list(below(trio.lowlevel.current_root_task()))


def running_tasks():
    """Name every task of the event loop, after the garbage is collected and has complained."""
    gc.collect()
    if sniffio.current_async_library() == "trio":
        names = trio_tasks()
    else:
        names = [task.get_coro().__qualname__ for task in asyncio.all_tasks()]
    return dict(Counter(names))


def release(query):
    for run in list(RUNS.values()):
        if run.name.startswith(query["prefix"]):
            run.released.set()
    return {}


def step(query):
    RUNS[query["run"]].steps += 1
    return {}


async def pool(query):
    begun = time.monotonic()
    await anyio.to_thread.run_sync(time.monotonic)
    return {"took": time.monotonic() - begun}


SIDE_ENDPOINTS = {
    "/state": lambda query: RUNS[query["run"]].state(),
    "/tasks": lambda query: running_tasks(),
    "/release": release,
    "/step": step,
    "/pool": pool,
    "/collect": lambda query: gc.collect(),
}


async def answer(send, body):
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def lifespan(receive, send):
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def app(scope, receive, send):
    """Route one request."""
    if scope["type"] == "lifespan":
        return await lifespan(receive, send)
    path, query = scope["path"], dict(parse_qsl(scope["query_string"].decode()))
    if path.startswith("/stream/"):
        return await stream(path.removeprefix("/stream/"), query, scope, receive, send)
    if path == "/ready":
        return await answer(send, os.environ["SSE_TEST_TOKEN"].encode())
    result = SIDE_ENDPOINTS[path](query)
    if asyncio.iscoroutine(result):
        result = await result
    return await answer(send, json.dumps(result).encode())
