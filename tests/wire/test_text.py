"""From events to the whole text."""

import json

import pytest

from sse_asgi import JSONFraming, MessageEvent, TextFraming
from sse_asgi.errors import FramingError, StreamFailedError
from sse_asgi.wire.text import TextCollector, error_message


def collect(*events, framing=TextFraming()):  # noqa: B008 - immutable
    collector = TextCollector(framing)
    ended = [collector.add(event) for event in events]
    return collector, ended


def test_the_text_is_what_the_framing_makes_of_the_events():
    events = [MessageEvent('"a"'), MessageEvent("x", "ping"), MessageEvent("[DONE]")]
    collector, ended = collect(*events, framing=JSONFraming())
    assert (collector.text, ended) == ("a", [False, False, True])


def test_a_framing_may_have_no_end_marker():
    assert collect()[0].has_end_marker
    assert not collect(framing=TextFraming(done=None))[0].has_end_marker


def test_another_framing_is_an_error():
    with pytest.raises(FramingError):
        collect(MessageEvent("a"), framing=JSONFraming())


def test_a_rewind_forgets_what_comes_again():
    collector, _ = collect(
        MessageEvent("a", last_event_id="1"),
        MessageEvent("b", last_event_id="1"),
        MessageEvent("", "ping", last_event_id="1"),
    )
    collector.rewind()
    assert collector.text == "a"
    collector.add(MessageEvent("b", last_event_id="1"))
    collector.add(MessageEvent("c", last_event_id="2"))
    collector.rewind()
    assert collector.text == "abc"


def test_an_id_on_its_own_covers_all_text_before_it():
    collector, _ = collect(MessageEvent("a"), MessageEvent("b"))
    collector.confirm("1")
    collector.add(MessageEvent("c", last_event_id="1"))
    collector.rewind()
    assert collector.text == "ab"


def test_an_error_event_carries_the_text_so_far():
    with pytest.raises(StreamFailedError, match="boom") as caught:
        collect(MessageEvent("a"), MessageEvent('{"message": "boom"}', "error"))
    assert (caught.value.message, caught.value.text) == ("boom", "a")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (json.dumps({"message": "boom"}), "boom"),
        (json.dumps({"error": {"message": "boom", "type": "x"}}), "boom"),
        (json.dumps({"error": "boom"}), "boom"),
        (json.dumps({"message": 7}), '{"message": 7}'),
        (json.dumps(["boom"]), '["boom"]'),
        ("boom", "boom"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_the_message_of_an_error_event(data, message):
    assert error_message(data) == message
