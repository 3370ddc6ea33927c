"""What the checks are made of."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, aclosing

from sse_asgi.live.log import Batch, Ending, Log

OpenLog = Callable[[], Log]
Check = Callable[[OpenLog], Awaitable[None]]

DONE = Ending("completed", '{"chunks": 3}')
KEEP = 60.0
DEADLINE = 20.0


def expect(found: object, wanted: object) -> None:
    """Fail unless the two are equal."""
    if found != wanted:
        raise AssertionError(f"found {found!r}, wanted {wanted!r}")


def holds(claim: object) -> None:
    """Fail unless it is true."""
    if not claim:
        raise AssertionError("wanted to hold")


async def refuses(error: type[Exception], call: Awaitable[object]) -> None:
    """Fail unless the call raises that error."""
    try:
        answer = await call
    except error:
        return
    raise AssertionError(f"answered {answer!r}, wanted {error.__name__}")


async def collect(batches: AsyncGenerator[Batch, None], after: int = 0) -> tuple[bytes, Ending]:
    """Join what a follower gives, and check that the batches join."""
    events: list[bytes] = []
    async with asyncio.timeout(DEADLINE), aclosing(batches):
        async for batch in batches:
            expect(batch.after, after + len(events))
            events += batch.events
            if batch.ending is not None:
                return b"|".join(events), batch.ending
    raise AssertionError("the follower ended without an ending")


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():
            await asyncio.sleep(0.02)


async def with_logs(open_log: OpenLog, logs: int, body: Callable[..., Awaitable[None]]) -> None:
    """Run a check's body with that many logs, and close them."""
    async with AsyncExitStack() as stack:
        opened = [open_log() for _ in range(logs)]
        for log in opened:
            stack.push_async_callback(log.aclose)
        await body(*opened)


def numbered(first: int, last: int) -> list[bytes]:
    """Return events that name their positions."""
    return [b"e%d" % number for number in range(first, last + 1)]
