"""Soak sse_asgi: `python -m tests.soak` keeps 2,000 streams open and lets them go wrong.

Half of the time the streams are in this process, on a server and clients without sockets; the other
half they are on a real uvicorn. Sources are async or sync, served by `EventStream`, by
`EventStreamResponse`, or by other apps behind `EventStreamMiddleware`. At random

- sources raise, hang, ignore their cancellation once or a few times, clean up slowly, raise then;
- hooks are slow, or raise;
- clients leave at any moment, never read, or stay;
- in process the server's `send` raises, or the server cancels its task;
- the server stops while streams are open.

It exits 1 if a rule was broken, and says which and by which stream:

- memory, asyncio tasks, threads and files end where they were after the first round;
- `on_complete` is called exactly once for each stream that began, and runs to its end;
- the outcome is one that the stream's faults allow;
- a client's text is a beginning of what its source produced, and all of it if the end marker came;
- messages come one at a time, none after the end; whoever stays to the end gets an orderly one;
- no exception but the planned ones leaves an app, and nothing else is logged as an error;
- every stream has ended 15 s after a shutdown, and uvicorn ends in order.

A stream follows from `--seed` and its number; only the moments differ between runs.

    python -m tests.soak                                  # ten minutes
    python -m tests.soak --seconds 20 --streams 200       # the short form
    python -m tests.soak --loop trio --no-uvicorn         # in process alone, under another loop
"""

import argparse
import logging
import resource
import sys
from collections.abc import Sequence

from . import in_process, on_uvicorn
from .results import Part, table

LOOPS = ("asyncio", "uvloop", "trio")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.soak", description="Keep streams open that go wrong at random."
    )
    add = parser.add_argument
    add("--seconds", type=float, default=600.0, help="for both halves together; 600 by default")
    add("--streams", type=int, default=2_000, help="that are open at a time; 2,000 by default")
    add("--seed", type=int, default=1)
    add("--loop", choices=LOOPS, default="asyncio", help="of the half that is in process")
    add("--no-uvicorn", action="store_true", help="the half in process alone, for all the time")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    options = parse(arguments)
    raise_file_limit()
    logging.getLogger().addHandler(logging.NullHandler())  # the ledger listens
    seconds = options.seconds if options.no_uvicorn else options.seconds / 2
    common = {"seed": options.seed, "streams": options.streams, "seconds": seconds}
    parts = [in_process.soak(options.loop, **common)]
    if not options.no_uvicorn:
        parts.append(on_uvicorn.soak(**common))
    print(table(parts))
    for part in parts:
        complain(part)
    return int(any(part.problems for part in parts))


def complain(part: Part) -> None:
    if part.problems:
        print(f"\n{part.name}: {part.broken} rules broken", file=sys.stderr)
    for problem in part.problems:
        print(f"  {problem}", file=sys.stderr)


def raise_file_limit() -> None:
    """Let this process and its children open as many sockets as the system allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


if __name__ == "__main__":
    sys.exit(main())
