"""What a newcomer sees of the demo: a real server, a real browser, and nobody who disturbs it."""

from itertools import pairwise

import pytest

pytestmark = pytest.mark.matrix

# Notes the text of the answer at every change of it, and when in milliseconds.
WATCH_ANSWER = """() => {
  const answer = document.getElementById("answer");
  window.seen = [];
  new MutationObserver(() => window.seen.push([answer.textContent, performance.now()]))
    .observe(answer, { childList: true, characterData: true, subtree: true });
}"""


def test_it_begins_by_itself_and_both_ends_of_both_lanes_fill_at_once(demo, open_demo, hurry):
    tab = open_demo(demo)
    tab.page.evaluate(WATCH_ANSWER)
    tab.wait_for_chunks(30)
    for id_ in ("transcript", "answer", "plain-transcript", "plain-answer"):
        assert len(tab.text(id_)) > 30, id_
    assert tab.page.locator("#live-wire i").count() > 0  # chunks on their way
    hurry()
    live, plain = tab.wait_for_end()
    assert (live[:2], plain[:2]) == ([0, 0], [0, 0])  # nobody has disturbed it

    text = tab.answer.text_content()
    seen = [each for each, _ in tab.page.evaluate("window.seen") if each]
    assert len(seen) > 20
    assert all(after.startswith(before) for before, after in pairwise(seen))
    assert text == tab.transcript.text_content() == tab.text("plain-answer")
    assert f"Identical: both sides hold the same {len(text):,} characters." in tab.text("verdict")
    assert (tab.text("browser-state"), tab.text("server-state")) == ("completed", "completed")
    assert tab.chunks() >= 400
    assert 0.2 < tab.number("first") < tab.number("elapsed")
    assert demo.noise() == []
