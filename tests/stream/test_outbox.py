"""What is ready leaves together, framed as one, and nothing is kept back."""

import pytest

from sse_asgi import JSONFraming, TextFraming
from sse_asgi.stream.outbox import Outbox


def plain(chunk):
    """Encode one chunk at a time, as a user's framing may."""
    return chunk.encode()


@pytest.fixture(params=[TextFraming().encoder, JSONFraming().encoder, lambda: plain])
def encoder(request):
    return request.param


def test_joins_chunks_and_events_in_order_and_counts_the_chunks(encoder):
    outbox, encode = Outbox(encoder()), encoder()
    put = outbox.putter()
    put("one")
    outbox.put_event(b": event\n\n")
    put("two")
    put("three")
    frames = [encode("one"), b": event\n\n", encode("two"), encode("three")]
    assert outbox.take() == (b"".join(frames), 3)


def test_is_empty_after_take(encoder):
    outbox = Outbox(encoder())
    outbox.putter()("one")
    assert outbox
    outbox.take()
    assert not outbox
    assert outbox.take() == (b"", 0)


def test_takes_on_after_take(encoder):
    outbox = Outbox(encoder())
    put = outbox.putter()
    put("one")
    outbox.take()
    put("two")
    assert outbox.take() == (encoder()("two"), 1)


def test_an_empty_event_is_nothing_to_send():
    outbox = Outbox(plain)
    outbox.put_event(b"")
    assert not outbox


def test_a_chunk_of_which_the_framing_makes_nothing_counts():
    outbox = Outbox(lambda chunk: b"")
    put = outbox.putter()
    put("held")
    put("back")
    assert not outbox
    assert outbox.take() == (b"", 2)


def test_a_chunk_that_the_framing_cannot_encode_counts_not():
    def encode(chunk):
        return chunk.encode("ascii")

    outbox = Outbox(encode)
    put = outbox.putter()
    put("a")
    with pytest.raises(UnicodeEncodeError):
        put("\u65e5")
    assert outbox.take() == (b"a", 1)
