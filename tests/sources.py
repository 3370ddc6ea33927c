"""The sources under test, and what is noted of each stream that runs one of them."""

import contextlib
import hashlib
import json
import os
import threading
import time
from pathlib import Path

import anyio
import sniffio

BIG = "x" * 65_536
ENOUGH_TO_BLOCK = 160  # big chunks: 10 MB, more than kernel and server together take unread
MANY = 5_000_000  # chunks; a fast machine gives a million before a client can leave
CLEAN_UP_AWAIT = 0.01  # seconds


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def cleaning_up():
    """Let the awaits of a clean-up run to their end, by the rules of the event loop.

    A stop cancels one await under asyncio, so there is nothing to do. Under trio it cancels every
    await until the source has ended, unless a scope shields it.
    """
    if sniffio.current_async_library() == "trio":
        return anyio.CancelScope(shield=True)
    return contextlib.nullcontext()


class Run:
    """One stream under observation: what its source did and what the hooks were told."""

    def __init__(self, name):
        self.name = name
        self.produced = 0
        self.digest = hashlib.sha256()
        self.sends_begun = self.sends_done = 0
        self.idle = False
        self.steps = 0
        self.released = threading.Event()

    def note(self, what, **facts):
        line = {"run": self.name, "what": what, "at": time.monotonic(), **facts}
        with Path(os.environ["SSE_TEST_REPORT"]).open("ab", buffering=0) as file:
            file.write(json.dumps(line).encode() + b"\n")

    def produce(self, chunk):
        """Count a chunk that the source is about to yield."""
        self.produced += 1
        self.digest.update(chunk.encode())
        return chunk

    async def clean_up(self):
        """Do what a source does in its `finally`: await something, such as a save."""
        self.note("finally")
        with cleaning_up():
            await anyio.sleep(CLEAN_UP_AWAIT)
        self.note("cleaned", produced=self.produced, digest=self.digest.hexdigest())

    async def stepped(self):
        """Wait until the test has asked for one more step than were taken."""
        while not self.steps:
            await anyio.sleep(0.002)
        self.steps -= 1

    async def on_complete(self, transcript):
        self.note(
            "complete",
            outcome=str(transcript.outcome),
            text=transcript.text if len(transcript.text) < 20_000 else None,
            digest=digest(transcript.text),
            length=len(transcript.text),
            chunks=transcript.chunks,
            sent_chunks=transcript.sent_chunks,
            error=repr(transcript.error),
        )

    async def send(self, send, message):
        """Count the sends that were begun and that came back."""
        self.sends_begun += 1
        try:
            await send(message)
        finally:
            self.sends_done += 1

    def state(self):
        return {
            "produced": self.produced,
            "blocked": self.sends_begun - self.sends_done,
            "sends": self.sends_begun,
            "idle": self.idle,
        }


async def silent(run, request):
    """Wait for a first chunk that never comes."""
    run.note("started")
    try:
        await anyio.sleep_forever()
        yield run.produce("never")
    finally:
        await run.clean_up()


async def idle(run, request):
    """Give two chunks, then wait for ever."""
    run.note("started")
    try:
        yield run.produce("first ")
        yield run.produce("second")
        run.idle = True
        await anyio.sleep_forever()
    finally:
        await run.clean_up()


async def paced(run, request):
    """Give a chunk every few milliseconds, without end."""
    run.note("started")
    try:
        while True:
            yield run.produce(f"{run.produced} ")
            await anyio.sleep(0.003)
    finally:
        await run.clean_up()


async def big(run, request):
    """Give more than a client that does not read lets through; wait for ever after that."""
    run.note("started")
    try:
        for _ in range(ENOUGH_TO_BLOCK):
            yield run.produce(BIG)
            await anyio.sleep(0)
        run.idle = True
        await anyio.sleep_forever()
    finally:
        await run.clean_up()


async def hot(run, request):
    """Give millions of chunks and never await anything."""
    run.note("started")
    try:
        for number in range(MANY):
            yield run.produce(f"{number} ")
    finally:
        await run.clean_up()


async def stepwise(run, request):
    """Give a chunk whenever the test says so, five in all."""
    run.note("started")
    try:
        for number in range(5):
            await run.stepped()
            yield run.produce(f"chunk{number}")
    finally:
        await run.clean_up()


async def words(run, request):
    """Give the words of the JSON body's prompt."""
    body = await request.json()
    for word in body["prompt"].split(" "):
        yield run.produce(word)


async def late_words(run, request):
    """Read the body only when the response is under way."""
    yield run.produce("now: ")
    run.idle = True
    await run.stepped()
    body = await request.json()
    yield run.produce(body["prompt"])


async def failing(run, request):
    """Fail in mid-stream."""
    yield run.produce("one ")
    yield run.produce("two")
    raise RuntimeError("the model fell over")


async def numbers(run, request):
    """Yield what is no chunk."""
    yield run.produce("one")
    yield 2


async def random_pace(run, request):
    """Give numbered chunks at a pace and of sizes that the query asks for."""
    pause = float(request.query_params["pause"])
    size = int(request.query_params["size"])
    run.note("started")
    try:
        for number in range(2_000):
            yield run.produce(f"{number}:{'x' * size} ")
            if pause and number % 7 == 0:
                await anyio.sleep(pause)
    finally:
        await run.clean_up()


def blocked_thread(run, request):
    """Block the worker thread in `next`, without end, until the test releases it."""
    try:
        yield run.produce("before ")
        run.note("blocked")
        run.released.wait(60)
        yield run.produce("after")
    finally:
        run.note("closed", thread=threading.current_thread() is not threading.main_thread())


SOURCES = {
    "silent": (silent, {}),
    "idle": (idle, {}),
    "paced": (paced, {}),
    "big": (big, {}),
    "hot": (hot, {"record": False}),
    "stepwise": (stepwise, {}),
    "words": (words, {}),
    "late-words": (late_words, {}),
    "failing": (failing, {}),
    "numbers": (numbers, {}),
    "random-pace": (random_pace, {}),
    "heartbeat": (idle, {"heartbeat": 0.05}),
    "send-timeout": (big, {"send_timeout": 0.3}),
    "blocked-thread": (blocked_thread, {"cleanup_timeout": 0.3}),
}
