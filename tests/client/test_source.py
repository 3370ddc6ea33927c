"""What a connection brings, in its order: events, comments, and ids without an event."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import MessageEvent
from sse_asgi.client.source import IdMoved, ItemDecoder
from tests.wire.cases import CASES

STREAM = (
    b": first\n\nid: 1\ndata: a\n\nid: 2\n\n\n\n: c\nid: 2\n\n"
    b"data: b\n:d\nid: 3\n\n\n\n\nid\n\n: e\n"
)
ITEMS = [
    *("first", MessageEvent("a", last_event_id="1"), IdMoved("2"), "c"),
    *("d", MessageEvent("b", last_event_id="3"), IdMoved(""), "e"),
]


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_items_come_in_order_however_they_are_cut(cuts):
    decoder = ItemDecoder()
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in itertools.pairwise(places)]
    assert [item for piece in pieces for item in decoder.decode(piece)] == ITEMS


@pytest.mark.parametrize("first", [b"data: first\n\n", b": first\n\n", b"id: 0\n\nid\n\n"])
def test_every_case_of_the_wire_table_after_another_block(first):
    for case in CASES:
        decoder = ItemDecoder()
        before = decoder.decode(first)
        items = decoder.decode(case.stream.removeprefix(b"\xef\xbb\xbf"))
        assert before
        events = [item for item in items if isinstance(item, MessageEvent)]
        assert events == [*case.events], case.name
        assert decoder.last_event_id == case.last_event_id, case.name
