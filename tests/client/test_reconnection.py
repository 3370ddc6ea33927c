"""How long to wait, without waiting."""

from datetime import UTC, datetime

import pytest

from sse_asgi.client.reconnection import LONGEST_WAIT, Reconnection, retry_after


def delays(time, number, *, chance=0.0):
    reconnection = Reconnection(time, chance=lambda: chance)
    return [reconnection.delay() for _ in range(number)]


def test_the_first_wait_is_the_reconnection_time():
    assert delays(3000, 1) == [3.0]
    assert delays(0, 1) == [0.0]


def test_the_waits_double_up_to_a_cap():
    assert delays(3000, 6) == [3, 6, 12, 24, 30, 30]
    assert delays(0, 4) == [0, 0.2, 0.4, 0.8]
    assert delays(1000, 2000)[-1] == 30


def test_chance_takes_up_to_a_half_but_never_goes_below_the_reconnection_time():
    assert delays(3000, 5, chance=1.0) == [3, 3, 6, 12, 15]


def test_a_longer_reconnection_time_than_the_cap_counts():
    assert delays(100_000, 3) == [100, 100, 100]


@pytest.mark.parametrize("time", [2**31, 2**63 - 1])
def test_no_wait_is_longer_than_a_browser_s(time):
    assert delays(time, 2) == [LONGEST_WAIT, LONGEST_WAIT]


def test_a_reset_begins_anew():
    reconnection = Reconnection(1000, chance=lambda: 0.0)
    assert [reconnection.delay(), reconnection.delay()] == [1, 2]
    reconnection.reset()
    assert reconnection.delay() == 1


def test_the_server_may_ask_for_more():
    assert Reconnection(1000).delay(at_least=7.5) == 7.5
    assert Reconnection(1000).delay(at_least=0.5) == 1.0
    assert Reconnection(1000).delay(at_least=1e300) == LONGEST_WAIT


NOW = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("120", 120), (" 7 ", 7), ("0", 0), ("-1", 0), ("1.5", 0), ("soon", 0), ("", 0)),
        ("Sun, 22 Nov 2026 12:00:30 GMT", 30),
        ("Sun, 22 Nov 2026 11:00:00 GMT", 0),
        ("Sun, 22 Nov 2026 12:00:30 -0000", 30),
        ("\u0663", 0),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999", 0),
        ("Wed, 21 Oct 2015 07:28:00 -99999999999", 0),
        ("9" * 400, 999_999_999_999),
    ],
)
def test_retry_after(value, seconds):
    assert retry_after(value, now=NOW) == seconds
