"""The timers of a lifecycle, which must not outlive its stream."""

from types import SimpleNamespace

from sse_asgi.stream.lifecycle import Lifecycle


class Timer:
    """A timer of a host whose clock stands still."""

    def __init__(self, seconds, *call):
        self.seconds = seconds
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


def test_the_shortest_grace_counts_and_no_timer_is_left():
    timers = []

    def call_later(*args):
        timers.append(Timer(*args))
        return timers[-1]

    host = SimpleNamespace(clock=lambda: 0.0, call_later=call_later)
    lifecycle = Lifecycle(host, 5.0, SimpleNamespace())
    for seconds in (60, 90, 30):
        lifecycle.shut_down_in(seconds)
    assert [(timer.seconds, timer.cancelled) for timer in timers] == [(60, True), (30, False)]
    lifecycle.close()
    assert all(timer.cancelled for timer in timers)
