import dataclasses
import json
from collections.abc import Callable
from enum import Enum
from typing import ClassVar

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    Framing,
    FramingError,
    JSONFraming,
    MessageEvent,
    Outcome,
    Part,
    Reasoning,
    SSEError,
    StreamFailedError,
    TextFraming,
    ToolCall,
    Usage,
)
from sse_asgi.wire.framing import Item, check_framing, has_end, items_of
from tests.wire.said import PARTS, as_sent

PIECES = [
    *("", "\r", "\n", "\r\n", "\n\r", "a\r", "\nb", " ", "  a", "tok", "data: ", ":", "\n\n"),
    *("[DONE]", "[DO", "NE]", "[DONE", "]", "\r[DONE]", "\n[DONE]", "[DONE]\r", " [DONE]"),
    *("\u2028", "\x85", "\0", "\ufeff", "\U0001f600", "\ud83d", "\ude00", "\ud83d\ude00", "\ufffd"),
    *("\ud83d\U0001f600\ude00", '"[DONE]"', '"', "\\", "\\n", "{}", "null"),
]  # fmt: skip
PIECE = st.sampled_from(PIECES)
CHUNK = PIECE | st.text(st.characters()) | st.lists(PIECE).map("".join)
CHUNKS = st.lists(CHUNK, max_size=12)


def as_received(text: str) -> str:
    replaced = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return replaced.replace("\r\n", "\n").replace("\r", "\n")


def encoded(framing: Framing, chunks: list[str]) -> bytes:
    encoder = framing.encoder()
    return encoder.begin() + b"".join(encoder.text([chunk]) for chunk in chunks)


def received(framing: Framing, stream: bytes) -> list[Item]:
    decode = framing.decoder()
    events = EventStreamDecoder().feed(stream)
    return [item for event in events for item in items_of(decode(event))]


def assert_arrives(framing: Framing, chunks: list[str], expected: str) -> None:
    texts = received(framing, encoded(framing, chunks))
    assert None not in texts, "a chunk ended the stream"
    assert "".join(text for text in texts if isinstance(text, str)) == expected
    assert received(framing, framing.encoder().end()) == [None] * has_end(framing)


@given(CHUNKS, st.sampled_from(["[DONE]", None]))
@example(["a\r", "", "", "\nb"], "[DONE]")
@example(["\r", "\n[DONE]"], "[DONE]")
@example(["\r", "\n\n"], "[DONE]")
@example(["\r", "\n\r", "\n"], "[DONE]")
def test_text_arrives_up_to_newline_normalisation(chunks: list[str], done: str | None):
    assert_arrives(TextFraming(done), chunks, as_received("".join(chunks)))


@given(CHUNKS, st.sampled_from(["[DONE]", "null", None]))
@example(["\ud83d\ude00"], "[DONE]")
@example(["\ud83d", "\ude00"], "[DONE]")
@example(["\ud83d\ud83d\ude00\ude00"], "[DONE]")
def test_json_text_arrives_exactly(chunks: list[str], done: str | None):
    assert_arrives(JSONFraming(done), chunks, "".join(chunks))


@given(st.lists(CHUNKS.filter(len)), st.sampled_from(["[DONE]", None]), st.booleans())
@example([["a", "[DONE]"], ["b"]], "[DONE]", False)
@example([["a\r"], ["\n", "b"]], "[DONE]", False)
@example([["a", "\ud83d"], ["\ude00"]], "[DONE]", True)
def test_chunks_are_encoded_together_as_one_by_one(
    batches: list[list[str]], done: str | None, is_json: bool
):
    framing = JSONFraming(done) if is_json else TextFraming(done)
    encoder = framing.encoder()
    together = b"".join(encoder.text(batch) for batch in batches)
    assert together == encoded(framing, [chunk for batch in batches for chunk in batch])


class Token(str, Enum):  # noqa: UP042 - not StrEnum, which formats as its value
    HELLO = "hello"  # formatted, it is `Token.HELLO`


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
@pytest.mark.parametrize("number", [1, 2])
def test_a_chunk_of_a_subclass_of_str_is_its_characters(framing: Framing, number: int):
    encoder, plain = framing.encoder(), framing.encoder()
    assert encoder.text([Token.HELLO] * number) == plain.text(["hello"] * number)


MARKERS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=2
) | st.sampled_from(["aa", " [DONE]", "  ", "\ufffd\ufffd", "\ufeff\ufeff", ": x", "data: x"])


@given(MARKERS, st.data())
@example("\ufffd\ufffd", None)
def test_no_chunk_ends_the_stream_whatever_the_marker(done: str, data: st.DataObject | None):
    near = [done, done[:1], done[1:], done + "\n", "\n" + done, "\r", "\ud800\udc00", ""]
    chunks = near if data is None else data.draw(st.lists(st.sampled_from(near), max_size=12))
    assert_arrives(TextFraming(done), chunks, as_received("".join(chunks)))


@pytest.mark.parametrize(
    ("chunk", "stream"),
    [
        ("tok", b"data: tok\n\n"),
        ("", b"data: \n\n"),
        (" tok", b"data:  tok\n\n"),
        ("a\nb", b"data: a\ndata: b\n\n"),
        ("a\r\nb\rc", b"data: a\ndata: b\ndata: c\n\n"),
        ("\u00e9\u2028", "data: \u00e9\u2028\n\n".encode()),
        ("a\ud83d", "data: a\ufffd\n\n".encode()),
        ("[DONE]", b"data: [DO\n\ndata: NE]\n\n"),
        ("[DONE]\n", b"data: [DONE]\ndata: \n\n"),
    ],
)
def test_a_text_chunk_is_one_events_data(chunk: str, stream: bytes):
    assert encoded(TextFraming(), [chunk]) == stream


@pytest.mark.parametrize(
    ("chunk", "stream"),
    [
        ("tok", b'data: "tok"\n\n'),
        ("", b'data: ""\n\n'),
        ('a\r\n"\\\0', b'data: "a\\r\\n\\"\\\\\\u0000"\n\n'),
        ("\u00e9\U0001f600", 'data: "\u00e9\U0001f600"\n\n'.encode()),
        ("\u00e9\u0085\u2028\u2029", 'data: "\u00e9\\u0085\\u2028\\u2029"\n\n'.encode()),
        ("[DONE]", b'data: "[DONE]"\n\n'),
        ("\u00e9\ud83d", b'data: "\\u00e9\\ud83d"\n\n'),
        ("\ud83d\ude00", b'data: "\\ud83d"\n\ndata: "\\ude00"\n\n'),
    ],
)
def test_a_json_chunk_is_a_json_string(chunk: str, stream: bytes):
    assert encoded(JSONFraming(), [chunk]) == stream


@given(st.lists(CHUNK))
@example(["\u2028", "\x85\u2029", "\v\f\x1c\x1d\x1e"])
def test_json_chunks_arrive_also_where_unicode_s_line_ends_count(chunks: list[str]):
    stream = JSONFraming().encoder().text(chunks) if chunks else b""
    lines = stream.decode().splitlines()
    assert received(JSONFraming(), "".join(f"{line}\n" for line in lines).encode()) == received(
        JSONFraming(), stream
    )


@given(CHUNK)
def test_any_json_reader_gets_the_chunk(chunk: str):
    events = EventStreamDecoder().feed(encoded(JSONFraming(), [chunk]))
    assert "".join(json.loads(event.data) for event in events) == chunk


def test_a_subclass_of_str_is_sent_as_the_text_it_is():
    class Token(str, Enum):  # noqa: UP042 - its format() is not its text, unlike a StrEnum's
        WORD = "word"
        BREAK = "\n"

    assert encoded(TextFraming(), [Token.WORD, Token.BREAK]) == b"data: word\n\ndata: \ndata: \n\n"
    assert encoded(JSONFraming(), [Token.WORD, Token.BREAK]) == b'data: "word"\n\ndata: "\\n"\n\n'


def test_streams_of_one_framing_do_not_share_a_cut_crlf():
    framing = TextFraming()
    one, other = framing.encoder(), framing.encoder()
    one.text(["a\r"])
    assert other.text(["\nb"]) == b"data: \ndata: b\n\n"
    assert one.text(["\nb"]) == b"data: b\n\n"


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
def test_the_end_marker_is_an_event(framing: Framing):
    assert framing.encoder().end() == b"data: [DONE]\n\n"
    assert framing.encoder().end(Outcome.STOPPED) == b"data: [DONE]\n\n"
    assert framing.decoder()(MessageEvent("[DONE]")) is None


@pytest.mark.parametrize("framing", [TextFraming(done=None), JSONFraming(done=None)])
def test_without_a_marker_nothing_ends_the_stream(framing: Framing):
    assert framing.encoder().end() == b""
    assert not has_end(framing)
    assert received(framing, encoded(framing, ["[DONE]", "None", ""])) == ["[DONE]", "None", ""]


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
@pytest.mark.parametrize("data", ["[DONE]", "a", '"a"', ""])
def test_an_event_of_another_type_has_no_text(framing: Framing, data: str):
    assert framing.decoder()(MessageEvent(data, "ping")) == ""


@pytest.mark.parametrize(
    "data", ["", "a", "1", "null", "{}", '["a"]', '"a', 'a"', '"a" "b"', "[" * 10**5, "9" * 5000]
)
def test_data_that_is_no_json_string_is_refused_by_name(data: str):
    with pytest.raises(FramingError, match=r"and is none.*same framing") as raised:
        JSONFraming().decoder()(MessageEvent(data))
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, SSEError)
    assert len(str(raised.value)) < 300


def test_json_of_another_server_is_read():
    decode = JSONFraming().decoder()
    assert decode(MessageEvent(' "\\u0061\\/" ')) == "a/"


@pytest.mark.parametrize("framing", [TextFraming, JSONFraming])
@pytest.mark.parametrize("done", [b"[DONE]", 1, False, ["[DONE]"]])
def test_a_marker_of_another_type_is_refused(framing: Callable[[object], Framing], done: object):
    with pytest.raises(TypeError, match=r"done must be a str or None, not .* \(\w+\): give the"):
        framing(done)


@pytest.mark.parametrize("framing", [TextFraming, JSONFraming])
@pytest.mark.parametrize(
    ("done", "message"),
    [
        ("[DONE]\n", r"done must not have CR or LF, as '\[DONE\]\\n' has: .*remove"),
        ("\r[DONE]", "done must not have CR or LF"),
        (
            "[\ud800]",
            r"done must not have a lone surrogate, as '\[\\ud800\]' has: .*another marker",
        ),
    ],
)
def test_a_marker_that_cannot_arrive_is_refused(
    framing: Callable[[str], Framing], done: str, message: str
):
    with pytest.raises(ValueError, match=message):
        framing(done)


@pytest.mark.parametrize("done", ["", "x", "\U0001f600"])
def test_a_marker_too_short_to_be_cut_is_refused(done: str):
    with pytest.raises(
        ValueError, match=r"done must have at least 2 characters, not .*longer marker"
    ):
        TextFraming(done)


@pytest.mark.parametrize("done", ['""', '"[DONE]"', ' "a" '])
def test_a_marker_that_a_json_chunk_may_equal_is_refused(done: str):
    with pytest.raises(ValueError, match=r"done must not be a JSON string, as .* is: .*none"):
        JSONFraming(done)


def test_an_empty_json_marker_is_refused():
    with pytest.raises(ValueError, match="done must not be empty: give a marker, or None"):
        JSONFraming("")


@pytest.mark.parametrize("done", ["x", "null", "{}", '"', '"a', "[" * 10**5])
def test_a_json_marker_may_be_anything_but_a_string(done: str):
    assert_arrives(JSONFraming(done), ["a", done], "a" + done)


@pytest.mark.parametrize("framing", [TextFraming, JSONFraming])
def test_a_framing_is_a_value(framing: type[TextFraming | JSONFraming]):
    assert framing() == framing("[DONE]") == framing(done="[DONE]")
    assert len({framing(), framing(), framing(None)}) == 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        framing().done = None  # type: ignore[misc]


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
def test_nothing_goes_before_the_text_and_no_header_is_demanded(framing: Framing):
    assert framing.encoder().begin() == b""
    assert framing.headers == {}


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT])
def test_a_failure_is_an_error_event(framing: Framing, outcome: Outcome):
    failure = framing.encoder().fail("bo\nom", outcome)
    assert failure == b'event: error\ndata: {"message": "bo\\nom"}\n\n'
    with pytest.raises(StreamFailedError) as caught:
        received(framing, failure)
    assert caught.value.message == "bo\nom"


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
def test_at_a_shutdown_the_farewell_says_it_all(framing: Framing):
    assert framing.encoder().fail("stopping", Outcome.SHUT_DOWN) == b""


@given(st.lists(CHUNK | PARTS, max_size=12), st.booleans())
def test_text_and_parts_arrive_in_order(said: list[str | Part], is_json: bool):
    framing = JSONFraming() if is_json else TextFraming()
    encoder = framing.encoder()
    stream = b"".join(
        encoder.text([each]) if isinstance(each, str) else encoder.part(each) for each in said
    )
    items = received(framing, stream)
    text = "".join(each for each in said if isinstance(each, str))
    assert "".join(i for i in items if isinstance(i, str)) == (
        text if is_json else as_received(text)
    )
    assert [i for i in items if not isinstance(i, str)] == [
        as_sent(each) for each in said if not isinstance(each, str)
    ]


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming()])
def test_listeners_of_messages_see_text_alone(framing: Framing):
    encoder = framing.encoder()
    parts = [Reasoning("a"), ToolCall("b", {}), Usage(1), Finish("stop")]
    events = EventStreamDecoder().feed(b"".join(map(encoder.part, parts)))
    assert [event.type for event in events] == ["reasoning", "tool_call", "usage", "finish"]


class NumberedEncoder:
    def __init__(self) -> None:
        self.count = 0

    def begin(self) -> bytes:
        return b"event: start\ndata: 0 \n\n"

    def text(self, chunks: list[str]) -> bytes:
        return b"".join(map(self.frame, chunks))

    def frame(self, chunk: str) -> bytes:
        self.count += 1
        return b"data: %d %b\n\n" % (self.count, chunk.encode())

    def part(self, part: Part) -> bytes:
        return b""

    def end(self, outcome: Outcome = Outcome.COMPLETED) -> bytes:
        return b"event: end\ndata\n\n"

    def fail(self, message: str, outcome: Outcome) -> bytes:
        return b"event: failure\ndata: %b\n\n" % message.encode()


class Numbered:
    """A framing as a user may write it, with state for one stream."""

    headers: ClassVar = {"x-numbered": "yes"}

    def encoder(self) -> NumberedEncoder:
        return NumberedEncoder()

    def decoder(self) -> Callable[[MessageEvent], str | None]:
        return lambda event: None if event.type == "end" else event.data.partition(" ")[2]


def test_a_users_framing_is_a_framing():
    framing = check_framing(Numbered())
    assert has_end(framing)
    stream = b"event: start\ndata: 0 \n\ndata: 1 a\n\ndata: 2 b\n\n"
    assert encoded(framing, ["a", "b"]) == stream
    assert_arrives(framing, ["a", "b"], "ab")


@pytest.mark.parametrize("framing", [TextFraming(), JSONFraming(done=None)])
def test_our_framings_are_framings(framing: Framing):
    assert check_framing(framing) is framing


@pytest.mark.parametrize("value", [None, "text", "[DONE]", object(), TextFraming().encoder()])
def test_what_has_none_of_the_members_is_no_framing(value: object):
    with pytest.raises(TypeError, match=r"framing must be a Framing, not .*: give one, such as"):
        check_framing(value)


def test_a_class_of_framings_is_no_framing():
    with pytest.raises(TypeError, match=r"not <class .*> itself: call it, TextFraming\(\)"):
        check_framing(TextFraming)


class OneWay:
    headers: ClassVar = {}

    def encoder(self) -> NumberedEncoder:
        return NumberedEncoder()


class WithoutHeaders:
    def encoder(self) -> Callable[[str], bytes]:
        return str.encode

    def end(self) -> bytes:
        return b""

    def decoder(self) -> Callable[[MessageEvent], str | None]:
        return lambda event: event.data


class WithListedHeaders(Numbered):
    headers: ClassVar = [("a", "b")]


@pytest.mark.parametrize(
    ("value", "remedy"),
    [
        (OneWay(), "it has no decoder; see the class Framing"),
        (WithoutHeaders(), r"headers must be a mapping .*encoder\(\) must return an Encoder"),
        (WithListedHeaders(), r"headers must be a mapping of header names to values, \{\}"),
    ],
)
def test_a_framing_that_lacks_something_is_told_what(value: object, remedy: str):
    with pytest.raises(TypeError, match=remedy):
        check_framing(value)


def test_what_a_decoder_gives_is_read_as_a_tuple():
    assert items_of("a") == ("a",)
    assert items_of(None) == (None,)
    assert items_of(("a", None)) == ("a", None)
