"""Chat apps as a real server serves them. What the user says decides what the generator does."""

import asyncio
import json
import os
import time
from pathlib import Path

from sse_asgi import Finish, Reasoning, Shutdown, ToolCall, Usage
from sse_asgi.chat import ChatApp, ChatError
from sse_asgi.upstream import from_openai
from tests.chat.page import serve_page
from tests.lazily import openai
from tests.upstream.recorded import Upstream

SECRET = "an internal secret"
TEXTS = {
    "everything": "Hello",
    "newlines": "a\nb\r\nc\rd\n\n",
    "marker": "[DONE]",
    "emoji": "\u2028 \u2029 \x85 🦜 \x00",
    "spaces": "  two  ",
    "long": "x" * 400_000,
}


async def say(text):
    yield Reasoning("Think")
    for piece in (text[:2], "", text[2:4], text[4:]):
        yield piece
    yield ToolCall("weather", {"city": "Århus"}, "call_1")
    yield Usage(9, 4)


async def cut_upstream():
    client = Upstream(cut=4).client("AsyncOpenAI")
    stream = await client.chat.completions.create(
        model="m", messages=[{"role": "user", "content": "Hi"}], stream=True
    )
    async for item in from_openai(stream):
        yield item


async def be_late():
    async with asyncio.timeout(0.2):
        yield "Hel"
        await asyncio.sleep(60)


async def wait_for_signal():
    yield "Hel"
    note("waits")
    await asyncio.sleep(60)


async def fail():
    yield "Hel"
    raise RuntimeError(SECRET)


async def wait_and_note():
    try:
        yield "Hel"
        yield Usage(9, 4)
        await asyncio.sleep(60)
    finally:
        note("generator ended", who="model")


async def proxy(chat):
    """Pass on the answer of a model elsewhere: of this server."""
    url = f"http://{chat.request.headers['host']}/v1"
    try:
        async with openai.AsyncOpenAI(base_url=url, api_key="x") as client:
            stream = await client.chat.completions.create(
                model="mine", messages=[{"role": "user", "content": "waits"}], stream=True
            )
            async for item in from_openai(stream):
                yield item
    finally:
        note("generator ended", who="proxy")


async def be_busy(chat, tries=[]):  # noqa: B006 - it counts
    tries.append(chat)
    if len(tries) % 2:
        raise ChatError(429, "Slow down.", code="rate_limit_exceeded", retry_after=1)
    yield "At last"


async def be_busy_late():
    yield "Hel"
    raise ChatError(429, "Too many.", code="rate_limit_exceeded")


async def be_empty():
    for chunk in ():
        yield chunk


async def take_turns():
    """Say every kind of thing twice, each between others."""
    for city in ("Århus", "Oslo"):
        yield f"Look at {city}. "
        yield Reasoning(f"Ask for {city}. ")
        yield ToolCall("weather", {"city": city}, f"call_{city}")
        yield ToolCall("time", {}, f"time_{city}")
        yield f"There: {city}. "
    yield Usage(1, 1)
    yield Finish("tool_calls")
    yield Usage(9, 4)


async def be_cut_short():
    yield "Hello"
    yield Finish("length")


def note(what, **fields):
    """Leave a line in the report, for the test to read."""
    line = {"run": "chat", "what": what, "at": time.monotonic(), **fields}
    with Path(os.environ["SSE_TEST_REPORT"]).open("a") as file:
        file.write(json.dumps(line) + "\n")


def generate(chat):
    doings = {
        "raises": fail,
        "upstream": cut_upstream,
        "deadline": be_late,
        "SIGTERM": wait_for_signal,
        "empty": be_empty,
        "late": be_busy_late,
        "length": be_cut_short,
        "turns": take_turns,
    }
    if chat.text in doings:
        return doings[chat.text]()
    if chat.text == "waits":
        return wait_and_note()
    if chat.text == "proxy":
        return proxy(chat)
    if chat.text == "busy":
        return be_busy(chat)
    return say(TEXTS[chat.text])


def authorize(request):
    return request.headers.get("authorization") != "Bearer wrong"


def complete(transcript, chat):
    parts = len(transcript.parts)
    note("complete", outcome=transcript.outcome, text=transcript.text, parts=parts)


chat_app = ChatApp(
    generate,
    models=("mine", "org/other"),
    authorize=authorize,
    on_complete=complete,
    shutdown=Shutdown(grace=0.2),
)


async def app(scope, receive, send):
    if scope["type"] == "http" and scope["path"] in ("/ready", "/page", "/page.js"):
        await serve_page(scope, send)
    else:
        await chat_app(scope, receive, send)
