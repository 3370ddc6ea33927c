"""Frames that are ready leave together, and nothing is kept back."""

import pytest

from sse_asgi.stream import outbox as module
from sse_asgi.stream.outbox import MAX_BYTES, MAX_WAIT, Outbox


@pytest.fixture
def clock(monkeypatch):
    """Stop the time; a test moves it."""

    class Clock:
        now = 1_000.0

        def monotonic(self):
            return self.now

    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_joins_frames_in_order_and_counts_their_chunks():
    outbox = Outbox()
    outbox.put(b"one", 1)
    outbox.put(b"event", 0)
    outbox.put(b"two", 2)
    assert outbox.take() == (b"oneeventtwo", 3)


def test_is_empty_after_take():
    outbox = Outbox()
    outbox.put(b"one", 1)
    assert outbox
    outbox.take()
    assert not outbox
    assert outbox.take() == (b"", 0)


def test_is_due_when_full(clock):
    outbox = Outbox()
    assert not outbox.put(b"x" * (MAX_BYTES - 1), 1)
    assert outbox.put(b"x", 1)


def test_is_due_when_the_oldest_frame_has_waited(clock):
    outbox = Outbox()
    outbox.put(b"old", 1)
    clock.now += MAX_WAIT / 2
    assert not outbox.put(b"young", 1)
    clock.now += MAX_WAIT / 2 + 1e-6
    assert outbox.put(b"younger", 1)


def test_the_wait_begins_anew_after_take(clock):
    outbox = Outbox()
    outbox.put(b"old", 1)
    clock.now += MAX_WAIT * 2
    outbox.take()
    assert not outbox.put(b"new", 1)


def test_an_empty_frame_is_nothing_to_send():
    outbox = Outbox()
    outbox.put(b"", 0)
    assert not outbox


def test_empty_frames_become_due_too_so_that_others_get_their_turn(clock):
    outbox = Outbox()
    outbox.put(b"", 0)
    clock.now += MAX_WAIT * 2
    assert outbox.put(b"", 0)


def test_empty_frames_are_not_collected():
    outbox = Outbox()
    for _ in range(1_000):
        outbox.put(b"", 0)
    assert outbox.take() == (b"", 0)
    assert not outbox.frames


def test_holds_no_more_than_its_bound_and_one_frame():
    outbox, frame, longest = Outbox(), b"x" * 1_000, 0
    for _ in range(1_000):
        if outbox.put(frame, 1):
            longest = max(longest, len(outbox.take()[0]))
    assert longest < MAX_BYTES + len(frame)
