"""The checks that every `Log` has to pass.

They need no test framework. With pytest:

    @pytest.mark.anyio
    @pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
    async def test_conformance(check):
        await check(open_log)

`open_log` takes no argument and returns a log. Called twice it returns what two processes
would have: two logs on one empty store. A log in memory returns the same object each time.
Choose a `lease` of one or two seconds: some checks wait for its end. A check closes what it
opened, and raises `AssertionError` if the log breaks its word.
"""

from collections.abc import Sequence

from tests.live.conformance import living, storing
from tests.live.conformance.expect import Check, OpenLog

__all__ = ["CHECKS", "Check", "OpenLog"]

CHECKS: Sequence[Check] = (
    storing.creates_once,
    storing.knows_nothing_of_other_keys,
    storing.replays_what_it_stored,
    storing.reads_in_bounded_pieces,
    storing.repeats_change_nothing,
    storing.appends_together,
    storing.names_its_tail_at_a_gap,
    storing.fences_strangers,
    storing.begins_anew_when_nothing_is_left,
    storing.finds_by_label,
    living.wakes_followers,
    living.waits_beyond_the_tail,
    living.carries_a_stop,
    living.counts_followers,
    storing.forgets_after_keep,
    living.buries_the_dead,
    living.beats_keep_alive,
    living.works_again_after_closing,
)
"""All checks, in reading order. Those about leases pass at once if `lease` is infinite."""
