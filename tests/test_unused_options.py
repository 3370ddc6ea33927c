"""What operators do not ask for costs a chunk nothing, and what they do ask for costs it little."""

import asyncio
import os
import sys
from collections import Counter
from pathlib import Path

import pytest

import sse_asgi
from sse_asgi import EventStream, EventStreamMiddleware
from sse_asgi.limits import Limits
from sse_asgi.stream.options import Options
from sse_asgi.telemetry import Telemetry

PACKAGE = f"{Path(sse_asgi.__file__).parent}{os.sep}"
FEW, MANY = 10, 60
SCOPE = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}
PLAIN = {
    "app.py:__call__",
    "stream/response.py:run",
    "wire/text_framing.py:chunk",
}
"""What a paced chunk of a plain stream calls, or goes on with."""


def serve(make, chunks):
    """Serve a stream of so many chunks, each waited for; return the calls within the package."""
    called = Counter()

    async def source(request):
        for _ in range(chunks):
            await asyncio.sleep(0.000_2)
            yield "x"

    async def receive():
        await asyncio.Event().wait()

    async def send(message): ...

    def note(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            module = frame.f_code.co_filename.removeprefix(PACKAGE)
            called[f"{module}:{frame.f_code.co_name}"] += 1

    async def main():
        app = make(source)
        before = sys.getprofile()
        sys.setprofile(note)
        try:
            await app(dict(SCOPE), receive, send)
        finally:
            sys.setprofile(before)

    asyncio.run(main())
    return called


def calls_of_a_chunk(make):
    """Return what is called for every chunk."""
    more = serve(make, MANY)
    more.subtract(serve(make, FEW))
    return {name for name, count in more.items() if count >= (MANY - FEW) * 0.9}


def test_a_chunk_of_a_plain_stream_calls_nothing_of_it():
    assert calls_of_a_chunk(EventStream) == PLAIN
    whole = serve(EventStream, FEW)
    assert not [name for name in whole if name.startswith(("around", "limits", "telemetry"))]


@pytest.mark.parametrize(
    ("options", "more"),
    [
        ({"prefetch": 5.0}, set()),
        ({"limits": Limits(5)}, {"limits/limits.py:answer", "limits/admission.py:answer"}),
        (
            {"telemetry": Telemetry()},
            {"telemetry/watch.py:answer", "telemetry/watch.py:_pass_on"},
        ),
    ],
    ids=["prefetch", "limits", "telemetry"],
)
def test_a_chunk_of_one_that_uses_it_calls_this_much_more(options, more):
    called = calls_of_a_chunk(lambda source: EventStream(source, **options))
    assert called - PLAIN == more


def test_behind_the_middleware_a_chunk_calls_nothing_of_it_either():
    called = calls_of_a_chunk(lambda source: EventStreamMiddleware(EventStream(source)))
    unless_used = ("around", "coalescing", "compression", "limits", "telemetry")
    assert called
    assert not [name for name in called if name.startswith(unless_used)]


@pytest.mark.parametrize("option", ["coalesce", "listeners", "prefetch"])
def test_no_chunk_asks_for_an_option_that_is_off(option, monkeypatch):
    asked, slot = [], getattr(Options, option)

    def ask(options):
        asked.append(option)
        return slot.__get__(options)

    monkeypatch.setattr(Options, option, property(ask, slot.__set__))
    serve(EventStream, FEW)
    few = len(asked)
    asked.clear()
    serve(EventStream, MANY)
    assert len(asked) == few
