"""How long a log may fail, by a clock that only the test moves."""

import pytest

from sse_asgi.live.outage import Patience


@pytest.fixture(autouse=True)
def _moved_by_the_test(clock, monkeypatch):
    monkeypatch.setattr("sse_asgi.live.outage.time", clock)


def test_a_failure_is_borne_for_a_lease_and_no_longer(clock):
    patience = Patience(5.0)
    assert not patience.is_over()
    clock.now += 5.0
    assert not patience.is_over()
    clock.now += 0.1
    assert patience.is_over()
    assert patience.is_over()


def test_what_goes_well_again_may_fail_as_long_as_before(clock):
    patience = Patience(5.0)
    assert not patience.is_over()
    clock.now += 6.0
    patience.reset()
    assert not patience.is_over()


def test_a_failure_counts_from_when_things_went_well(clock):
    assert not Patience(5.0).is_over(95.0)
    patience = Patience(5.0)
    assert patience.is_over(94.9)
    assert patience.is_over(), "it fails since then, whatever later failures say"
    assert not Patience(5.0).is_over(200.0), "not from a time that is to come"
