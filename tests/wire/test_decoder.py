import gc
import sys
import time
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sse_asgi import EventStreamDecoder, EventTooLargeError, InvalidEventError, MessageEvent
from tests.examples import examples
from tests.wire.cases import BOM, CASES, Case
from tests.wire.reference import ReferenceDecoder, size_of_largest_event


def every(cases: Iterable[Case]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in cases])


def pieces(stream: bytes, size: int) -> Iterator[bytes]:
    return (stream[i : i + size] for i in range(0, len(stream), size))


def outcome(feeds: Iterable[bytes]) -> tuple[tuple[MessageEvent, ...], str, int | None]:
    decoder = EventStreamDecoder()
    events = tuple(event for data in feeds for event in decoder.feed(data))
    return events, decoder.last_event_id, decoder.reconnection_time


def expected(case: Case) -> tuple[tuple[MessageEvent, ...], str, int | None]:
    return case.events, case.last_event_id, case.reconnection_time


@every(CASES)
def test_a_stream_fed_whole(case: Case):
    assert outcome([case.stream]) == expected(case)


@every(CASES)
def test_a_stream_fed_byte_by_byte(case: Case):
    assert outcome(pieces(case.stream, 1)) == expected(case)


@every(CASES)
def test_a_stream_cut_once_at_every_place(case: Case):
    cuts = range(len(case.stream) + 1) if len(case.stream) < 1000 else range(0, 1000, 97)
    for cut in cuts:
        assert outcome([case.stream[:cut], case.stream[cut:]]) == expected(case), cut


@every(case for case in CASES if not case.stream.startswith(BOM[:1]))
def test_a_stream_after_another_event(case: Case):
    events, last_event_id, reconnection_time = expected(case)
    expectation = ((MessageEvent("x"), *events), last_event_id, reconnection_time)
    assert outcome([b"data: x\n\n", case.stream]) == expectation
    assert outcome([b"data: x\n\n" + case.stream]) == expectation


def test_the_names_of_the_cases_are_unique():
    assert len({case.name for case in CASES}) == len(CASES)


TOKENS = [
    *(b"\r", b"\n", b"\r\n", b"\n\n", b":", b" ", b"\0", b"data", b"id", b"event", b"retry", b"1"),
    *(BOM, b"\xef", b"\xbb", b"\xbf", b"\xf0\x9f", b"\x98\x80", b"\xff", b"a", b"data: "),
    *(b"data: a\n\n", b"data: b\r\n\r\n", b"id: 1\ndata: c\n\n", b": k\n", b"id: 2\n\n"),
    b"data: d\n\n" * 12,
]  # fmt: skip
STREAMS = (
    st.lists(st.sampled_from(TOKENS), max_size=30).map(b"".join)
    | st.lists(st.sampled_from(b"\r\n:data idretry\x00\xef\xbb\xbf")).map(bytes)
    | st.binary()
)


@st.composite
def cut_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    stream = draw(STREAMS)
    cuts = draw(st.lists(st.integers(0, len(stream)), max_size=8))
    edges = [0, *sorted(cuts), len(stream)]
    return stream, [stream[start:end] for start, end in pairwise(edges)]


@examples(500)
@given(cut_streams())
def test_any_bytes_cut_anywhere_give_what_the_standard_says(cut: tuple[bytes, list[bytes]]):
    stream, feeds = cut
    reference = ReferenceDecoder(stream)
    result = (tuple(reference.events), reference.last_event_id, reference.reconnection_time)
    assert outcome(feeds) == result
    assert outcome([stream]) == result
    assert outcome(pieces(stream, 1)) == result


@every(CASES)
def test_the_reference_decoder_agrees_with_the_cases(case: Case):
    reference = ReferenceDecoder(case.stream)
    result = (tuple(reference.events), reference.last_event_id, reference.reconnection_time)
    assert result == expected(case)


def is_refused(feeds: Iterable[bytes], max_event_size: int) -> bool:
    decoder = EventStreamDecoder(max_event_size=max_event_size)
    try:
        for data in feeds:
            decoder.feed(data)
    except EventTooLargeError:
        return True
    return False


@examples(500)
@given(cut_streams(), st.integers(1, 60))
@example((b"data: a\n\n", [b"data: a\n\n"]), 8)
@example((b"data: a\n\n", [b"data: a\n", b"", b"\n"]), 7)
def test_where_the_bytes_are_cut_does_not_change_whether_an_event_is_too_large(
    cut: tuple[bytes, list[bytes]], limit: int
):
    stream, feeds = cut
    refused = size_of_largest_event(stream) > limit
    assert is_refused([stream], limit) is refused
    assert is_refused(feeds, limit) is refused
    assert is_refused(pieces(stream, 1), limit) is refused


def test_a_cr_ends_its_line_before_the_next_byte_comes():
    decoder = EventStreamDecoder()
    assert decoder.feed(b"data: a\r\r") == [MessageEvent("a")]
    assert decoder.feed(b"\ndata: b\n") == []
    assert decoder.feed(b"\r") == [MessageEvent("b")]
    assert decoder.feed(b"") == []
    assert decoder.feed(b"\ndata: c\r\n\r") == [MessageEvent("c")]
    assert decoder.feed(b"\n") == []


def test_a_crlf_may_be_cut_with_nothing_between():
    decoder = EventStreamDecoder()
    fed = [decoder.feed(data) for data in (b"data: a\r", b"", b"\ndata: b\n\n")]
    assert fed == [[], [], [MessageEvent("a\nb")]]


def test_an_event_comes_out_with_the_bytes_that_end_it():
    decoder = EventStreamDecoder()
    fed = [decoder.feed(bytes([byte])) for byte in b"data: a\n\ndata: b\r\n\r\n"]
    assert [position for position, events in enumerate(fed) if events] == [8, 18]


def test_the_id_moves_when_its_block_ends():
    decoder = EventStreamDecoder(last_event_id="0")
    decoder.feed(b"id: 1\ndata: a\n")
    assert decoder.last_event_id == "0"
    assert decoder.feed(b"\n") == [MessageEvent("a", last_event_id="1")]
    assert decoder.last_event_id == "1"


def test_events_carry_the_id_that_the_connection_was_opened_with():
    decoder = EventStreamDecoder(last_event_id="7")
    assert decoder.last_event_id == "7"
    assert decoder.feed(b"data: a\n\n") == [MessageEvent("a", last_event_id="7")]
    assert decoder.feed(b"id\ndata: b\n\n") == [MessageEvent("b", last_event_id="")]
    assert decoder.last_event_id == ""


@pytest.mark.parametrize("kind", [bytearray, memoryview, type("Sub", (bytes,), {})])
def test_any_kind_of_bytes_is_taken(kind: type):
    decoder = EventStreamDecoder()
    fed = [
        decoder.feed(kind(data)) for data in (b"data: a\n\nda", b"ta: b\r", b"\n\n", b"data: c\n\n")
    ]
    assert fed == [[MessageEvent("a")], [], [MessageEvent("b")], [MessageEvent("c")]]


def test_bytes_are_not_kept_by_reference():
    decoder = EventStreamDecoder()
    buffer = bytearray(b"data: a")
    decoder.feed(buffer)
    buffer[:] = b"XXXXXXX"
    assert decoder.feed(b"\n\n") == [MessageEvent("a")]


@pytest.mark.parametrize("data", ["data: a\n\n", None, 5, [b"data: a\n\n"]])
@pytest.mark.parametrize("before", [b"", b"data: a\n\n"])
def test_anything_but_bytes_is_refused_and_changes_nothing(data: object, before: bytes):
    decoder = EventStreamDecoder()
    decoder.feed(before)
    with pytest.raises(TypeError, match=rf"feed takes bytes, not .* {type(data).__name__}: "):
        decoder.feed(data)  # type: ignore[arg-type]
    assert decoder.feed(b"data: b\n\n") == [MessageEvent("b")]


@pytest.mark.parametrize("value", [None, 1, b"1"])
def test_a_last_event_id_of_another_type_is_refused(value: object):
    with pytest.raises(
        TypeError, match=r"last_event_id must be a str, not .* \(\w+\): give the id"
    ):
        EventStreamDecoder(last_event_id=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["1\n", "\r1", "\0"])
def test_a_last_event_id_that_no_stream_can_send_is_refused(value: str):
    with pytest.raises(InvalidEventError, match="last_event_id must not have CR, LF or NUL, as "):
        EventStreamDecoder(last_event_id=value)


@pytest.mark.parametrize("value", [None, True, 1.5, "1"])
def test_a_limit_of_another_type_is_refused(value: object):
    with pytest.raises(TypeError, match=r"max_event_size must be an int, not .* in bytes"):
        EventStreamDecoder(max_event_size=value)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_below_one_byte_is_refused(value: int):
    with pytest.raises(ValueError, match=f"max_event_size must be at least 1 byte, not {value}: "):
        EventStreamDecoder(max_event_size=value)


def test_the_first_id_and_the_reconnection_time_cannot_be_set():
    decoder = EventStreamDecoder()
    with pytest.raises(AttributeError):
        decoder.last_event_id = "1"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        decoder.reconnection_time = 1  # type: ignore[misc]


TOO_LARGE = [
    pytest.param([b"data: " + b"x" * 200], id="a line that has not ended"),
    pytest.param([b"data: " + b"x" * 200 + b"\n\n"], id="an event fed whole"),
    pytest.param([b"data: x\n" * 20], id="many lines"),
    pytest.param([b"data: x\n"] * 20, id="many lines, fed one by one"),
    pytest.param([b"x\n"] * 60, id="unknown fields"),
    pytest.param([b":" * 101], id="a comment that does not end"),
    pytest.param([b"data: a\n\n" * 50, b"x" * 101], id="after other events"),
    pytest.param([b"data: a\n\n", b"data: " + b"x" * 200 + b"\n\n"], id="whole, after another"),
    pytest.param([b"data: " + b"x" * 200 + b"\r"], id="ended by CR"),
]


@pytest.mark.parametrize("feeds", TOO_LARGE)
def test_an_event_over_the_limit_is_refused_by_name(feeds: list[bytes]):
    with pytest.raises(EventTooLargeError, match=r"max_event_size=100 bytes: .*larger"):
        outcome_with_limit(feeds, 100)


def outcome_with_limit(feeds: list[bytes], limit: int) -> list[MessageEvent]:
    decoder = EventStreamDecoder(max_event_size=limit)
    return [event for data in feeds for event in decoder.feed(data)]


def test_a_feed_may_be_larger_than_the_limit():
    assert len(outcome_with_limit([b"data: a\n\n" * 1000], 8)) == 1000


def test_comments_do_not_add_up():
    feeds = [b": keep-alive\n"] * 1000 + [b"data: a\n: keep-alive\n"] + [b": keep-alive\n"] * 1000
    assert outcome_with_limit([*feeds, b"\n"], 30) == [MessageEvent("a")]


def test_a_refused_stream_stays_refused():
    decoder = EventStreamDecoder(max_event_size=10)
    decoder.feed(b"data: a\n\n")
    for data in (b"x" * 11, b"data: b\n\n", b"\n\n", b""):
        with pytest.raises(EventTooLargeError, match="max_event_size=10 "):
            decoder.feed(data)


def test_a_refused_feed_moves_no_id():
    decoder = EventStreamDecoder(max_event_size=10)
    decoder.feed(b"id: 1\n\n")
    with pytest.raises(EventTooLargeError):
        decoder.feed(b"id: 2\n\ndata: " + b"x" * 10)
    assert decoder.last_event_id == "1"


def cpu_seconds(stream: bytes, size: int, *, enough: float = 0) -> float:
    """Return the best of a few measurements; one that is less than `enough` is the last."""
    feeds = list(pieces(stream, size))
    best = float("inf")
    gc.disable()  # it walks all events that are alive, which is no work of the decoder's
    try:
        for _ in range(5):
            start = time.process_time()
            outcome(feeds)
            best = min(best, time.process_time() - start)
            if best < enough:
                break
    finally:
        gc.enable()
    return best


@pytest.mark.parametrize(("size", "length"), [(16, 100_000), (1024, 400_000), (10**9, 400_000)])
@pytest.mark.parametrize(
    ("unit", "framed"),
    [
        pytest.param(b"x", b"data: %b\n\n", id="one long line"),
        pytest.param(b"data: xxxxxxxxxxxxxxxxxxxx\n", b"%b\n", id="one event of many lines"),
        pytest.param(b"data: x\n\n", b"%b", id="many events"),
        pytest.param(b"\r", b"data: x%b\n", id="nothing but CR"),
        pytest.param(b": x\n", b"%b", id="nothing but comments"),
    ],
)
@pytest.mark.matrix("size")
def test_time_is_linear_in_the_stream(unit: bytes, framed: bytes, size: int, length: int):
    def stream(length: int) -> bytes:
        return framed % (unit * (length // len(unit)))

    # Linear time gives a ratio of 4, quadratic time of 16.
    limit = 9 * cpu_seconds(stream(length), size) + 0.05
    assert cpu_seconds(stream(4 * length), size, enough=limit) < limit


def test_a_large_event_in_small_pieces_is_decoded_in_a_moment():
    stream = b"data: " + b"x" * 14_000_000 + b"\n\n"
    start = time.process_time()
    events, _, _ = outcome(pieces(stream, 1024))
    assert time.process_time() - start < 3
    assert len(events[0].data) == 14_000_000


@pytest.mark.parametrize("before", [b"", b"data: x\n\n", b"id: 1\nevent: x\n\n"])
def test_a_blank_line_that_does_nothing_costs_no_call(before: bytes):
    calls = 0

    def count(*_: object) -> None:
        nonlocal calls
        calls += 1

    decoder = EventStreamDecoder()
    decoder.feed(b"data: a\n\n")
    sys.setprofile(count)
    try:
        decoder.feed(before + b"\n" * 10_000)
    finally:
        sys.setprofile(None)
    assert calls < 500


def peak_memory(feeds: Iterable[bytes], limit: int) -> int:
    decoder = EventStreamDecoder(max_event_size=limit)
    tracemalloc.start()
    try:
        for data in feeds:
            decoder.feed(data)
    except EventTooLargeError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return peak


@pytest.mark.parametrize("data", [b": keep-alive\n", b":\n:\r\n", b"id: 1\n\n", b"event: x\n\n"])
def test_a_stream_that_dispatches_nothing_takes_no_memory(data: bytes):
    assert peak_memory((data for _ in range(20_000)), limit=100) < 50_000


@pytest.mark.parametrize("data", [b"x", b"xyz", b"x" * 5000])
@pytest.mark.matrix("data")
def test_an_endless_line_takes_memory_up_to_the_limit(data: bytes):
    assert peak_memory((data for _ in range(200_000)), limit=100_000) < 400_000
