"""Sources that are known by heart, and viewers that come and go as browsers do."""

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from sse_asgi import TextFraming
from sse_asgi.testing import connect

DEADLINE = 60.0
TEXT = TextFraming()


def words(count, seed=0):
    """Return the chunks of a text: uneven, some with newlines and characters of many bytes."""
    rng = random.Random(seed)
    kinds = ["a", "é", "漢", "x\ny", " "]
    return [f"{rng.choice(kinds)}{number} " for number in range(count)]


def paced(chunks, pause=0.005):
    """Return a source that gives the chunks one by one."""

    async def source():
        for chunk in chunks:
            yield chunk
            await asyncio.sleep(pause)

    return source


@dataclass
class Seen:
    """What a viewer saw over all of its connections."""

    text: str = ""
    positions: list = field(default_factory=list)
    errors: list = field(default_factory=list)
    done: bool = False
    connections: int = 0
    statuses: list = field(default_factory=list)


async def watch(app, path, *, drops=0, seed=0, framing=TEXT, pick=None, retries=0):
    """Watch a generation to its end as an EventSource does; drop that many connections.

    Args:
        app: Where it is mounted.
        path: Its path.
        drops: Connections to cut at random moments.
        pick: Returns the app for each connection, instead of `app`.
        retries: How often a 404 or 503 is answered by another try.
    """
    rng = random.Random(seed)
    seen = Seen()
    last_event_id = ""
    decode = framing.decoder()
    async with asyncio.timeout(DEADLINE):
        while True:
            seen.connections += 1
            stay = rng.randrange(0, 15) if drops > 0 else None
            drops -= 1
            headers = {"last-event-id": last_event_id} if last_event_id else {}
            async with connect(pick() if pick else app, path, headers=headers) as connection:
                seen.statuses.append(connection.status)
                if connection.status in (404, 503) and retries > 0:
                    retries -= 1
                    await asyncio.sleep(0.1)
                    continue
                if connection.status != 200:
                    return seen
                with contextlib.suppress(StopAsyncIteration):
                    while stay is None or stay > 0:
                        event = await anext(connection)
                        last_event_id = event.last_event_id
                        note(seen, event, decode)
                        stay = None if stay is None else stay - 1
                if stay is None and not seen.errors:  # nothing is left undispatched
                    last_event_id = connection.decoder.last_event_id or last_event_id
            if seen.errors and not seen.done:
                return seen


def note(seen, event, decode):
    """Take one event in, and check that it is new and in its place."""
    if event.type == "error":
        seen.errors.append(event.data)
        return
    position = int(event.last_event_id.partition(":")[2])
    assert not seen.positions or position == seen.positions[-1] + 1, (seen.positions[-5:], position)
    assert not seen.done, "an event after the end marker"
    seen.positions.append(position)
    piece = decode(event)
    if piece is None:
        seen.done = True
    else:
        seen.text += piece


async def until(condition, what="the condition"):
    """Wait until a condition holds."""
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)
