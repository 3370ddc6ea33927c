"""What becomes of encoded events before the log keeps them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import EventStreamDecoder, ServerSentEvent
from sse_asgi.live.events import Cutter

EVENTS = st.builds(
    ServerSentEvent,
    data=st.none() | st.text("a:\n\r id", max_size=6),
    event=st.none() | st.sampled_from(["step", "idea", "data"]),
    id=st.none() | st.sampled_from(["", "7", "a:1"]),
    retry=st.none() | st.integers(0, 99),
    comment=st.none() | st.text("a\n", max_size=3),
)


@pytest.mark.parametrize(
    ("encoded", "events"),
    [
        (b"data: a\n\n", [b"data: a"]),
        (b"event: step\ndata: a\ndata: b\n\n", [b"event: step\ndata: a\ndata: b"]),
        (b"id: 7\ndata: a\nid\nidea: b\n\n", [b"data: a\nidea: b"]),
        (b"data: a\n\n\n\ndata: b\n\n", [b"data: a", b"data: b"]),
        (b"data: a\r\n\r\ndata: b\r\rdata: c\n\n", [b"data: a", b"data: b", b"data: c"]),
        (b": alone\n\ndata: a\n: seen\n\n", [b"data: a\n: seen"]),
        (b"event: none\n\nid: 7\n\n", []),
        (b"", []),
    ],
)
def test_events_are_cut_at_blank_lines_and_lose_their_ids(encoded, events):
    assert Cutter().cut(encoded) == events


def test_a_reconnection_time_waits_for_an_event_with_data():
    cutter = Cutter()
    assert cutter.cut(b"retry: 5\n\n") == []
    assert cutter.cut(b"retry: 7\n\n: comment\n\n") == []
    assert cutter.cut(b"data: a\n\ndata: b\n\n") == [b"retry: 7\ndata: a", b"data: b"]
    assert cutter.cut(b"data: c\n\n") == [b"data: c"]


@given(st.lists(EVENTS, max_size=6))
def test_clients_dispatch_the_same_and_every_event_has_data(events):
    encoded = [event.encode() for event in events]
    cutter = Cutter()
    stored = [block for each in encoded for block in cutter.cut(each)]
    before = EventStreamDecoder().feed(b"".join(encoded))
    after = EventStreamDecoder().feed(b"".join(block + b"\n\n" for block in stored))
    assert [(event.type, event.data) for event in after] == [
        (event.type, event.data) for event in before
    ]
    assert len(stored) == len(after)
    assert all(event.last_event_id == "" for event in after)
