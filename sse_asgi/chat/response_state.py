"""A response of OpenAI's clients as it is now, read back from the log of its events."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from sse_asgi.dialects.response_object import response_object
from sse_asgi.live import INTERRUPTED, Head
from sse_asgi.live.events import INTERRUPTED_MESSAGE, Block
from sse_asgi.live.generations import Generations
from sse_asgi.live.record import EVENT_BYTES, meta_of
from sse_asgi.wire.decoder import EventStreamDecoder

Object = dict[str, Any]

_NUMBER: Final = re.compile(rb'"sequence_number":([0-9]+)')


async def read_response(generations: Generations, key: str, head: Head) -> Object:
    """Return the response object of a generation; its output is there once it has ended.

    Raises:
        LogUnavailableError: The log is out of reach.
    """
    if head.ending is not None:  # it has two events at its end: the last response, and [DONE]
        last = await _first_response(generations, key, head, max(0, head.last - 2))
        if last is not None and last["status"] != "in_progress":
            return last
    begun = await _first_response(generations, key, head, 0) or response_object(
        key,
        model="",
        created_at=int(meta_of(head).started_at.timestamp()),
        status="in_progress",
        output=[],
        background=True,
    )
    if head.ending is None:
        return begun
    told = INTERRUPTED_MESSAGE if head.ending.outcome == INTERRUPTED else "The response failed."
    return {**begun, "status": "failed", "error": {"code": "server_error", "message": told}}


async def wait_for_end(generations: Generations, key: str, head: Head) -> None:
    """Wait until a generation has ended."""
    async with aclosing(generations.view(key, head, head.last)) as blocks:
        async for block in blocks:
            if block.ending is not None:
                return


async def after_number(
    blocks: AsyncGenerator[Block, None], number: int
) -> AsyncGenerator[Block, None]:
    """Leave out the events up to a `sequence_number`, and those without one before the next.

    An event's position is one more than its number, unless the generator has events of its own,
    which have none: so some that are not to come may follow the position.
    """
    has_come = False
    async with aclosing(blocks):
        async for block in blocks:
            if has_come:
                yield block
                continue
            events = block.data.split(b"\n\n")[:-1]
            first = next((at for at, each in enumerate(events) if _number_of(each) > number), None)
            has_come = first is not None
            left = events[first:] if has_come else []
            data = b"".join(each + b"\n\n" for each in left)
            yield Block(data, block.after, block.last, block.ending)


def _number_of(event: bytes) -> int:
    found = _NUMBER.findall(event)  # in a text its quotes are escaped
    return int(found[-1]) if found else -1


async def _first_response(
    generations: Generations, key: str, head: Head, after: int
) -> Object | None:
    """Return the first response object in the events after a position."""
    decoder = EventStreamDecoder(max_event_size=EVENT_BYTES)
    async with aclosing(generations.view(key, head, after)) as blocks:
        async for block in blocks:
            for event in decoder.feed(block.data):
                if '"response":' in event.data:
                    response: Object = json.loads(event.data)["response"]
                    return response
    return None
