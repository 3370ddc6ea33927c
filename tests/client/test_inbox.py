"""What a connection has brought, taken in its order."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import MessageEvent
from sse_asgi.client.inbox import Comment, IdMoved, Inbox
from tests.wire.cases import CASES

STREAM = (
    b": first\n\nid: 1\ndata: a\n\nid: 2\n\n\n\n: c\nid: 2\n\n"
    b"data: b\n:d\nid: 3\n\n\n\n\nid\n\n: e\n"
)
ITEMS = [
    *(Comment("first"), MessageEvent("a", last_event_id="1"), IdMoved("2"), Comment("c")),
    *(Comment("d"), MessageEvent("b", last_event_id="3"), IdMoved(""), Comment("e")),
]


def make_inbox(*, comments=True, last_event_id=""):
    return Inbox(last_event_id=last_event_id, max_event_size=10**6, comments=comments)


def taken(inbox):
    return list(iter(inbox.take, None))


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)), comments=st.booleans())
def test_items_come_in_order_however_they_are_cut(cuts, comments):
    inbox = make_inbox(comments=comments)
    places = [0, *sorted(cuts), len(STREAM)]
    for start, end in itertools.pairwise(places):
        inbox.feed(STREAM[start:end])
    assert taken(inbox) == [item for item in ITEMS if comments or not isinstance(item, Comment)]


@pytest.mark.parametrize("comments", [True, False])
def test_every_case_of_the_wire_table_after_another_event(comments):
    for case in CASES:
        inbox = make_inbox(comments=comments)
        for data in (b"data: first\n\n", case.stream.removeprefix(b"\xef\xbb\xbf")):
            inbox.feed(data)
        events = [item for item in taken(inbox) if isinstance(item, MessageEvent)]
        assert events == [MessageEvent("first"), *case.events], case.name
        assert inbox.last_event_id == case.last_event_id, case.name


def test_the_id_covers_what_has_been_taken_and_the_ids_that_follow_it():
    inbox = make_inbox(last_event_id="0")
    inbox.feed(b"id: 1\ndata: a\n\nid: 2\n\nid: 3\n\ndata: b\n\nid: 4\n\n")
    assert inbox.last_event_id == "0"
    inbox.take()
    assert inbox.last_event_id == "3"
    inbox.clear()
    assert (inbox.take(), inbox.last_event_id) == (None, "3")


def test_a_new_connection_begins_behind_what_has_been_taken():
    inbox = make_inbox()
    inbox.feed(b"retry: 5\nid: 1\ndata: a\n\ndata: unfinished\nid: 2\n")
    assert inbox.reconnection_time == 5
    inbox.take()
    inbox.connect()
    assert inbox.reconnection_time is None
    inbox.feed(b"\xef\xbb\xbfdata: b\n\n")
    assert taken(inbox) == [MessageEvent("b", last_event_id="1")]
