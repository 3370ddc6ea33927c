"""What the tests of `coalesce` share: of responses, and of generations."""

import asyncio

import anyio.lowlevel
from hypothesis import strategies as st

from sse_asgi import JSONFraming, Reasoning, ServerSentEvent, TextFraming, Usage
from sse_asgi.dialects import ChatCompletions

LONG = 60.0  # seconds: no window of these tests ends by its time

CHUNKS = st.lists(
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(["[DONE]", "\n", "a\r", "\nb", None, Reasoning("r"), "x" * 9_000]),
        st.sampled_from([ServerSentEvent(event="e", data="1"), Usage(1, 1)]),
    ),
    max_size=20,
)
STREAMS = {
    "chunks": CHUNKS,
    "waits": st.lists(st.integers(0, 5), min_size=20, max_size=20),
    "window": st.sampled_from([0.000_1, 0.001, LONG]),
    "framing": st.sampled_from([TextFraming(), JSONFraming(), ChatCompletions("m")]),
}


async def turns():
    """Wait for long enough that everything has left that does not wait itself."""
    for _ in range(10):
        await anyio.lowlevel.checkpoint()


async def after_waits(chunks, waits):
    """Yield each chunk after so many turns of the event loop."""
    for chunk, number in zip(chunks, waits, strict=False):
        for _ in range(number):
            await asyncio.sleep(0)
        yield chunk
