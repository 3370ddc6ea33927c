"""What is ready leaves together: in order, in few messages, bounded, counted."""

import random

import anyio
import pytest

from sse_asgi import EventStream, JSONFraming, Outcome, ServerSentEvent, TextFraming
from sse_asgi.wire.text_framing import TextEncoder
from tests.stream.peer import Peer, Record, run, soon

pytestmark = pytest.mark.anyio

WORDS = ["a", "", "two\nlines", "word ", "[DONE]", "\u2028", "x" * 5_000]
LARGEST = 200_000  # bytes of one message, whatever the framing adds


def tick(number):
    return ServerSentEvent(event="tick", data=str(number))


async def burst(chunks):
    """Give all chunks without a wait; a sync source would be waited for, in its thread."""
    for chunk in chunks:
        yield chunk


def told(events, framing):
    """Return what a client reads: the text between the ticks, and the ticks."""
    decode, items = framing.decoder(), [""]
    for event in events:
        if event.type == "tick":
            items += [int(event.data), ""]
        else:
            items[-1] += decode(event) or ""
    return items


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()], ids=["text", "json"])
@pytest.mark.parametrize("seed", range(20))
async def test_chunks_and_events_arrive_whole_and_in_order_at_every_pace(seed, framing):
    chance = random.Random(seed)
    expected, chunks = [""], 0

    async def source(request):
        nonlocal chunks
        for number in range(chance.randrange(60)):
            kind = chance.random()
            if kind < 0.6:
                word = chance.choice(WORDS)
                expected[-1] += word
                chunks += 1
                yield word
            elif kind < 0.8:
                expected.extend([number, ""])
                yield tick(number)
            else:
                yield None
            pause = chance.choice([None, None, None, 0, 0.0005])
            if pause is not None:
                await anyio.sleep(pause)

    async def on_send(message):
        if chance.random() < 0.2:
            await anyio.sleep(0)

    peer, transcript = await run(source, framing=framing, peer={"on_send": on_send})
    assert told(peer.events, framing) == expected
    assert (transcript.chunks, transcript.sent_chunks) == (chunks, chunks)
    assert b"" not in peer.bodies[1:]
    assert max(map(len, peer.bodies)) < LARGEST


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()], ids=["text", "json"])
async def test_a_burst_leaves_in_far_fewer_messages_than_it_has_chunks(framing):
    """Not in one: it is bounded in bytes, and in the time that others wait for their turn."""
    fewest = 1_000
    for _ in range(10):  # a busy machine may cut one into pieces
        peer, transcript = await run(burst(["word "] * 1_000), framing=framing)
        assert transcript.sent_chunks == 1_000
        fewest = min(fewest, len(peer.messages))
    assert fewest < 100


async def test_events_leave_together_too():
    fewest = 500
    for _ in range(10):
        peer, _ = await run(burst(map(tick, range(500))))
        assert [event.data for event in peer.events[:-1]] == [str(n) for n in range(500)]
        fewest = min(fewest, len(peer.messages))
    assert fewest < 100


async def test_a_burst_of_long_chunks_is_sent_in_bounded_messages():
    peer, _ = await run(burst(["x" * 10_000] * 100))
    assert peer.text == "x" * 1_000_000
    assert max(map(len, peer.bodies)) < LARGEST


# A framing that makes nothing of a chunk


class Silent(TextFraming):
    """A framing that keeps all text to itself."""

    def encoder(self):
        class Encoder(TextEncoder):
            def text(self, chunks):
                return b""

        return Encoder(self.done)


@pytest.mark.parametrize("pace", ["at once", "one by one"])
async def test_a_chunk_of_which_the_framing_makes_nothing_is_sent_with_nothing(pace):
    async def source(request):
        for word in "abc":
            yield word
            if pace == "one by one":
                await anyio.sleep(0.002)

    peer, transcript = await run(source, framing=Silent())
    assert peer.body == b"data: [DONE]\n\n"
    assert b"" not in peer.bodies[1:]
    assert transcript.outcome is Outcome.COMPLETED
    assert (transcript.text, transcript.chunks, transcript.sent_chunks) == ("abc", 3, 3)


@pytest.mark.parametrize("pace", ["at once", "one by one"])
async def test_it_counts_as_sent_also_when_the_client_leaves_then(pace):
    """Nothing of it can be missing at the client, so nothing of it is still to be sent."""
    record, given = Record(), anyio.Event()

    async def source(request):
        for word in "abc":
            yield word
            if pace == "one by one":
                await anyio.sleep(0.002)
        await anyio.sleep(0.002)
        given.set()
        await anyio.sleep_forever()

    async with Peer(EventStream(source, framing=Silent(), on_complete=record)) as peer:
        await soon(given)
        peer.leave()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert (record.only.chunks, record.only.sent_chunks) == (3, 3)


async def test_a_chunk_that_the_framing_cannot_encode_has_not_been_sent():
    class Ascii(TextFraming):
        def encoder(self):
            class Encoder(TextEncoder):
                def text(self, chunks):
                    return "".join(chunks).encode("ascii")

            return Encoder(self.done)

    async def source(request):
        yield "a"
        await peer.until(lambda: b"a" in peer.body)
        yield "\u65e5"
        await anyio.sleep_forever()

    record = Record()
    async with Peer(EventStream(source, framing=Ascii(), on_complete=record)) as peer:
        pass
    assert record.only.outcome is Outcome.FAILED
    assert isinstance(peer.failure, UnicodeEncodeError)
    assert (record.only.chunks, record.only.sent_chunks) == (2, 1)
