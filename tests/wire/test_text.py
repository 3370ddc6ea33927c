"""From events to the whole text."""

from typing import ClassVar

import pytest

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    FramingError,
    IncompleteStreamError,
    JSONFraming,
    MessageEvent,
    Reasoning,
    StreamFailedError,
    TextFraming,
    Usage,
)
from sse_asgi.wire.text import TextCollector


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


def test_parts_are_kept_beside_the_text():
    encoder = JSONFraming().encoder()
    parts = (Usage(1), Reasoning("r"), Usage(1, 2), Finish("length"), Finish("stop"))
    stream = encoder.text(["a"]) + b"".join(map(encoder.part, parts)) + encoder.text(["b"])
    collector, _ = collect(*EventStreamDecoder().feed(stream), framing=JSONFraming())
    assert (collector.text, collector.parts) == ("ab", parts)
    assert (collector.usage, collector.finish_reason) == (Usage(1, 2), "stop")


def test_without_parts_nothing_is_known():
    collector, _ = collect(MessageEvent("a"))
    assert (collector.parts, collector.usage, collector.finish_reason) == ((), None, None)


class Counting:
    """A framing whose decoder remembers: the second event's text is "2"."""

    headers: ClassVar = {}

    def encoder(self):
        return TextFraming().encoder()

    def decoder(self):
        return Counter().count


class Counter:
    def __init__(self):
        self.seen = 0

    def count(self, event):
        if event.data == "early":
            raise IncompleteStreamError("too early", text="")
        self.seen += 1
        return (
            (str(self.seen), Reasoning(event.data), None) if event.data == "e" else str(self.seen)
        )


def test_a_rewind_takes_the_decoder_back_too():
    collector, _ = collect(
        MessageEvent("a", last_event_id="1"),
        MessageEvent("b", last_event_id="1"),
        MessageEvent("c", last_event_id="1"),
        framing=Counting(),
    )
    for _ in range(2):
        collector.rewind()
        collector.add(MessageEvent("b", last_event_id="1"))
        assert collector.text == "12"
    assert not collector.add(MessageEvent("c", last_event_id="2"))
    collector.rewind()
    assert collector.text == "123"


def test_an_event_may_hold_several_items_and_the_end():
    collector, ended = collect(MessageEvent("d"), MessageEvent("e"), framing=Counting())
    assert (collector.text, collector.parts, ended) == ("12", (Reasoning("e"),), [False, True])


class Uncopyable(Counter):
    def __deepcopy__(self, memo):
        raise RuntimeError


class Uncopied(Counting):
    def decoder(self):
        return Uncopyable().count


def test_a_decoder_that_cannot_be_copied_is_used_as_it_is():
    collector, _ = collect(MessageEvent("a"), MessageEvent("b"), framing=Uncopied())
    assert collector.text == "12"


def test_an_end_that_comes_too_early_carries_the_text_so_far():
    with pytest.raises(IncompleteStreamError, match="too early; 1 characters had come") as caught:
        collect(MessageEvent("a"), MessageEvent("early"), framing=Counting())
    assert caught.value.text == "1"
    assert not isinstance(caught.value, StreamFailedError)
