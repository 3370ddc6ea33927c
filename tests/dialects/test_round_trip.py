"""What is said is what is read, in each dialect, however the bytes are cut."""

import json
import re
from enum import Enum

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    Framing,
    FramingError,
    IncompleteStreamError,
    MessageEvent,
    Outcome,
    Part,
    Reasoning,
    StreamFailedError,
    ToolCall,
    Usage,
)
from sse_asgi.client import collect_text
from sse_asgi.dialects import AnthropicMessages, ChatCompletions, Responses
from sse_asgi.wire.framing import check_framing, has_end, items_of
from tests.dialects.streams import FRAMINGS, in_order, read, said_by, whole
from tests.examples import examples
from tests.wire.said import NAMES, TEXTS, TOOL_CALLS, USAGES, as_sent, well_formed

EVERY = pytest.mark.parametrize("framing", FRAMINGS.values(), ids=FRAMINGS.keys())
REASONS = st.sampled_from(["stop", "length", "tool_calls", "content_filter"])


def unique_calls(said: list[object]) -> list[object]:
    """Ids are unique in a stream: clients know a call by its id."""
    return [
        ToolCall(each.name, each.arguments, f"{each.id}-{number}")
        if isinstance(each, ToolCall)
        else each
        for number, each in enumerate(said)
    ]


SAID = st.lists(
    TEXTS
    | st.lists(TEXTS, min_size=1, max_size=4)
    | st.builds(Reasoning, TEXTS)
    | TOOL_CALLS
    | USAGES
    | st.builds(Finish, REASONS),
    max_size=10,
).map(unique_calls)


def text_of(said: list[object]) -> str:
    flat = ["".join(each) if isinstance(each, list) else each for each in said]
    return well_formed("".join(each for each in flat if isinstance(each, str)))


def parts_of(said: list[object]) -> list[Part]:
    """The parts that are sent at once. Pieces of reasoning that follow each other are kept."""
    parts = [each for each in said if isinstance(each, Reasoning | ToolCall)]
    return [as_sent(part) for part in parts if part != Reasoning("")]


def last(said: list[object], kind: type) -> object:
    return next((each for each in reversed(said) if isinstance(each, kind)), None)


def finish_of(said: list[object], framing: Framing) -> str:
    finish = last(said, Finish)
    has_calls = last(said, ToolCall) is not None
    reason = finish.reason if isinstance(finish, Finish) else "tool_calls" if has_calls else "stop"
    if framing is FRAMINGS["responses"] and reason in ("stop", "tool_calls"):
        return "tool_calls" if has_calls else "stop"  # its status tells no more
    return reason


def usage_of(said: list[object], framing: Framing) -> Usage | None:
    usage = last(said, Usage)
    if not isinstance(usage, Usage) or usage == Usage():
        return None
    if framing is FRAMINGS["anthropic"]:  # it has no word for what is not known
        usage = Usage(usage.input_tokens or None, usage.output_tokens or None)
    return None if usage == Usage() else usage


@EVERY
@examples(60)
@given(SAID, st.data())
def test_what_is_said_is_read_however_it_is_cut(framing, said, data):
    stream = whole(framing, *said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=6)))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    collector, complete = read(framing, *pieces)
    assert complete
    assert collector.text == text_of(said)
    assert in_order(collector.parts) == parts_of(said)
    assert collector.finish_reason == finish_of(said, framing)
    assert collector.usage == usage_of(said, framing)


@EVERY
@examples(20)
@given(SAID)
@example(["a", ToolCall("look", {}, "c"), Usage(9, 4)])
@example([])
def test_no_cut_stream_is_taken_for_a_whole_one(framing, said):
    events = EventStreamDecoder().feed(whole(framing, *said))
    decode = framing.decoder()
    ends = [None in items_of(decode(event)) for event in events]
    assert ends.index(True) >= len(events) - 2  # only `[DONE]` may follow
    terminal = ends.index(True)
    for cut in range(terminal):
        decode = framing.decoder()
        assert None not in [item for e in events[:cut] for item in items_of(decode(e))]


@EVERY
def test_no_prefix_of_bytes_is_taken_for_a_whole_stream(framing):
    stream = whole(framing, "Hel", Reasoning("r"), ToolCall("look", {"a": "b"}), Usage(9, 4))
    complete = stream
    if framing is not FRAMINGS["chat"]:  # there usage may follow the end
        complete = stream.removesuffix(b"data: [DONE]\n\n")
    for cut in [*range(0, len(complete), 7), *range(len(complete) - 100, len(complete))]:
        with pytest.raises(IncompleteStreamError) as caught:
            collect_text([stream[:cut]], framing)
        assert not isinstance(caught.value, StreamFailedError)
    assert collect_text([complete], framing) == "Hel"


class Token(str, Enum):  # noqa: UP042 - not StrEnum, which formats as its value
    HELLO = "hel\ud800lo"  # formatted, it is `Token.HELLO`


@EVERY
@pytest.mark.parametrize("number", [1, 2])
def test_a_chunk_of_a_subclass_of_str_is_its_characters(framing, number):
    collector, _ = read(framing, whole(framing, [Token.HELLO] * number, Reasoning(Token.HELLO)))
    assert collector.text == "hel\ufffdlo" * number
    assert in_order(collector.parts) == [Reasoning("hel\ufffdlo")]


@EVERY
def test_numbers_in_arguments_may_have_any_length(framing):
    call = ToolCall("look", f'{{"a": {"9" * 5000}}}', "c")
    assert in_order(read(framing, whole(framing, call))[0].parts) == [call]


@EVERY
def test_an_end_marker_without_an_end_is_no_end(framing):
    for said in (["Hel"], [], [ToolCall("look", {})]):
        with pytest.raises(IncompleteStreamError, match="end marker came before") as caught:
            read(framing, said_by(framing, *said, end=None), b"data: [DONE]\n\n")
        assert caught.value.text == "".join(each for each in said if isinstance(each, str))
        assert not isinstance(caught.value, StreamFailedError)


@EVERY
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.SHUT_DOWN])
def test_a_failure_raises_and_keeps_the_text(framing, outcome):
    encoder = framing.encoder()
    stream = encoder.begin() + encoder.text(["Hel"]) + encoder.fail("bo\u2028om\n", outcome)
    assert stream.endswith(b"\n\n")
    with pytest.raises(StreamFailedError) as caught:
        read(framing, stream)
    assert (caught.value.message, caught.value.text) == ("bo\u2028om\n", "Hel")


@EVERY
def test_a_failure_may_be_all_there_is(framing):
    with pytest.raises(StreamFailedError, match="boom"):
        read(framing, said_by(framing, end="boom"))


@EVERY
def test_the_error_event_of_other_servers_raises(framing):
    with pytest.raises(StreamFailedError, match="boom"):
        read(framing, b'event: error\ndata: {"message": "boom"}\n\n')


@EVERY
def test_a_stopped_stream_is_read_to_its_end(framing):
    for said in (["Hel"], []):
        collector, complete = read(framing, said_by(framing, *said, end=Outcome.STOPPED))
        assert complete
        assert collector.text == "".join(said)
        assert collector.finish_reason in ("stop", None)


@EVERY
def test_usage_of_a_stopped_stream_is_sent(framing):
    stream = said_by(framing, "a", Usage(9, 4), end=Outcome.STOPPED)
    assert read(framing, stream)[0].usage == Usage(9, 4)


@EVERY
@examples(40)
@given(SAID)
@example(["\x85\u2028\u2029", "\ud83d\ude00"])
def test_events_are_single_lines_with_data(framing, said):
    stream = whole(framing, *said).decode()
    assert "\r" not in stream
    for event in stream.removesuffix("\n\n").split("\n\n"):
        lines = event.splitlines()  # U+2028 and its like count here
        assert re.fullmatch(r"(event: [\w.]+)?", "".join(lines[:-1]))
        assert lines[-1].startswith("data: ")
        data = lines[-1].removeprefix("data: ")
        assert data == "[DONE]" or isinstance(json.loads(data), dict)


@EVERY
def test_long_texts_are_cut_below_a_mebibyte(framing):
    long = "\0" * 250_000  # 1.5 MB as JSON
    said = [long, Reasoning(long), [long, long], ToolCall("look", json.dumps({"a": long}))]
    encoder = framing.encoder()
    stream = encoder.begin() + encoder.text([long]) + encoder.part(Reasoning(long))
    assert max(map(len, stream.split(b"\n\n"))) < (
        2**21 if framing is FRAMINGS["responses"] else 2**20  # its `done` repeats the text
    )
    collector, complete = read(framing, whole(framing, *said))
    assert complete
    assert collector.text == long * 3
    assert "".join(p.text for p in collector.parts if isinstance(p, Reasoning)) == long
    assert (
        next(p for p in collector.parts if isinstance(p, ToolCall)).arguments == said[3].arguments
    )


@EVERY
def test_each_stream_is_its_own(framing):
    one, other = framing.encoder(), framing.encoder()
    one.begin(), other.begin()
    assert one.text(["a"])
    assert one.part(Usage(1, 1)) == b""
    assert b'"a"' not in other.text(["b"]) + other.end()
    decode, other_decode = framing.decoder(), framing.decoder()
    for event in EventStreamDecoder().feed(whole(framing, "a")):
        decode(event)
    with pytest.raises(IncompleteStreamError):
        other_decode(MessageEvent("[DONE]"))


@EVERY
def test_it_is_a_framing_with_an_end(framing):
    assert check_framing(framing) is framing
    assert has_end(framing)
    assert hash(framing) == hash(framing)


@pytest.mark.parametrize("make", [ChatCompletions, Responses, AnthropicMessages])
def test_options_are_given_by_name(make):
    assert make("mine", id="x") == make(model="mine", id="x")
    with pytest.raises(TypeError, match="positional"):
        make("mine", "x")


@EVERY
@pytest.mark.parametrize("data", ["", "Hel", "[]", '"a"', "null", "{", '{"a": 1}', '{"type": "a"}'])
def test_another_dialect_is_told(framing, data):
    with pytest.raises(FramingError, match=r"is no object of .*same framing"):
        framing.decoder()(MessageEvent(data))


@EVERY
def test_every_other_dialect_is_another(framing):
    for other in FRAMINGS.values():
        if other is framing:
            continue
        first = EventStreamDecoder().feed(other.encoder().begin())[0]
        with pytest.raises(FramingError):
            framing.decoder()(first)


@EVERY
@given(st.data())
def test_whatever_a_server_sends_raises_our_errors_alone(framing, data):
    """Values of other types in the objects of a real stream."""
    events = EventStreamDecoder().feed(
        whole(framing, "a", Reasoning("b"), ToolCall("c", {}), Usage(1))
    )
    decode = framing.decoder()
    junk = (
        st.none() | st.booleans() | st.integers() | NAMES | st.just([]) | st.just({}) | st.just([1])
    )
    try:
        for event in events:
            changed = re.sub(
                r'(?<=:)("[^"]*"|\d+|\[\]|null)',
                lambda found: (
                    json.dumps(data.draw(junk)) if data.draw(st.integers(0, 5)) == 0 else found[0]
                ),
                event.data,
            )
            for item in items_of(decode(MessageEvent(changed, event.type))):
                assert item is None or isinstance(item, str | Part)
    except (StreamFailedError, IncompleteStreamError, FramingError):
        pass
