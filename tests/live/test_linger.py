"""How long nobody has watched, by a clock that only the test moves."""

from types import SimpleNamespace

import pytest

from sse_asgi.live import Lease
from sse_asgi.live.viewer import FIRST_VIEWER, Linger

NOBODY = Lease(held=True)
BEEN = Lease(held=True, visited=True)
ELSEWHERE = Lease(held=True, followers=1, visited=True)


@pytest.fixture(autouse=True)
def _moved_by_the_test(clock, monkeypatch):
    monkeypatch.setattr("sse_asgi.live.viewer.time", clock)


def here(viewers=0, left=0.0):
    return SimpleNamespace(viewers=viewers, left=left)


@pytest.mark.parametrize("seconds", [0, 10, 50])
def test_the_first_viewer_has_thirty_seconds_at_least(clock, seconds):
    linger = Linger(seconds)
    clock.now += max(FIRST_VIEWER, seconds) - 0.1
    assert not linger.is_over(NOBODY, here())
    clock.now += 0.1
    assert linger.is_over(NOBODY, here())


@pytest.mark.parametrize("lease", [ELSEWHERE, NOBODY])
def test_it_waits_from_when_the_last_viewer_was_seen(clock, lease):
    linger = Linger(10)
    clock.now += 5
    assert not linger.is_over(lease, here(viewers=int(lease is NOBODY)))
    clock.now += 20
    assert not linger.is_over(lease, here(viewers=int(lease is NOBODY)))
    clock.now += 1
    assert not linger.is_over(BEEN, here())  # from now on nobody does
    clock.now += 9.9
    assert not linger.is_over(BEEN, here())
    clock.now += 0.1
    assert linger.is_over(BEEN, here())


def test_one_who_came_and_left_elsewhere_between_two_beats_counts(clock):
    linger = Linger(0)
    clock.now += 1
    assert not linger.is_over(NOBODY, here())
    assert linger.is_over(BEEN, here())


def test_one_who_came_and_left_here_between_two_beats_counts_from_the_moment(clock):
    linger = Linger(10)
    clock.now += 8
    assert not linger.is_over(NOBODY, here(left=101.0))
    clock.now = 110.9
    assert not linger.is_over(NOBODY, here(left=101.0))
    clock.now = 111.0
    assert linger.is_over(NOBODY, here(left=101.0))


def test_a_later_leave_here_begins_the_wait_anew(clock):
    linger = Linger(10)
    assert not linger.is_over(ELSEWHERE, here())
    clock.now = 105.0
    assert not linger.is_over(BEEN, here())
    clock.now = 114.0
    assert not linger.is_over(BEEN, here(left=113.0))
    clock.now = 122.9
    assert not linger.is_over(BEEN, here(left=113.0))
    clock.now = 123.0
    assert linger.is_over(BEEN, here(left=113.0))
