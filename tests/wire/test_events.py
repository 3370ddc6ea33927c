import copy
import dataclasses
import pickle
from enum import Enum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import EventStreamDecoder, InvalidEventError, MessageEvent, ServerSentEvent
from sse_asgi.wire.events import encode_data, message_event, message_events

ANY_TEXT = st.text(st.characters())  # lone surrogates included
HOSTILE = st.text(st.sampled_from("\r\n\0: \ufeff\u2028\x85\ud800\udc00\ufffdadt\U0001f600"))
TEXT = ANY_TEXT | HOSTILE


def without(forbidden: str) -> st.SearchStrategy[str]:
    return TEXT.map(lambda text: "".join(c for c in text if c not in forbidden))


EVENTS = st.builds(
    ServerSentEvent,
    data=st.none() | TEXT,
    event=st.none() | without("\r\n"),
    id=st.none() | without("\r\n\0"),
    retry=st.none() | st.integers(0, 2**63 - 1),
    comment=st.none() | TEXT,
)


def as_received(text: str) -> str:
    replaced = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)
    return replaced.replace("\r\n", "\n").replace("\r", "\n")


@pytest.mark.parametrize(
    ("event", "encoded"),
    [
        (ServerSentEvent(), b""),
        (ServerSentEvent("a"), b"data: a\n\n"),
        (ServerSentEvent(""), b"data: \n\n"),
        (ServerSentEvent(" a"), b"data:  a\n\n"),
        (ServerSentEvent("a\nb\rc\r\nd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (ServerSentEvent("\n\r"), b"data: \ndata: \ndata: \n\n"),
        (ServerSentEvent("a\u2028b\x85c\x0bd"), "data: a\u2028b\x85c\x0bd\n\n".encode()),
        (ServerSentEvent("\ud83d"), "data: \ufffd\n\n".encode()),
        (ServerSentEvent("a\n\ud83d\ude00"), "data: a\ndata: \ufffd\ufffd\n\n".encode()),
        (ServerSentEvent(event="add"), b"event: add\n\n"),
        (ServerSentEvent(id="1"), b"id: 1\n\n"),
        (ServerSentEvent(id=""), b"id: \n\n"),
        (ServerSentEvent(retry=0), b"retry: 0\n\n"),
        (ServerSentEvent(comment="keep-alive"), b": keep-alive\n"),
        (ServerSentEvent(comment=""), b": \n"),
        (ServerSentEvent(comment="a\r\nb\rc"), b": a\n: b\n: c\n"),
        (ServerSentEvent(comment="\ud83d\0"), ": \ufffd\0\n".encode()),
        (ServerSentEvent(comment="a", id="1"), b": a\nid: 1\n\n"),
        (
            ServerSentEvent("a\nb", event="add", id="1", retry=2, comment="c"),
            b": c\nevent: add\nid: 1\nretry: 2\ndata: a\ndata: b\n\n",
        ),
        (
            ServerSentEvent("", event="\ud83d", id="\udc00"),
            "event: \ufffd\nid: \ufffd\ndata: \n\n".encode(),
        ),
    ],
)  # fmt: skip
def test_an_event_encodes_to_its_fields_with_lf_line_ends(event: ServerSentEvent, encoded: bytes):
    assert event.encode() == encoded


def test_a_subclass_of_str_is_sent_as_the_text_it_is():
    class Plain(str, Enum):  # noqa: UP042 - its format() is not its text, unlike a StrEnum's
        A = "a\nb"

    class Modern(StrEnum):
        B = "b"

    event = ServerSentEvent(Plain.A, event=Modern.B, id=Modern.B, comment=Plain.A)
    assert event.encode() == b": a\n: b\nevent: b\nid: b\ndata: a\ndata: b\n\n"
    assert encode_data(Modern.B) == b"data: b\n\n"


@given(EVENTS)
def test_any_event_arrives_as_it_was_sent(event: ServerSentEvent):
    decoder = EventStreamDecoder()
    received = decoder.feed(event.encode())
    expected_id = as_received(event.id or "")
    assert decoder.last_event_id == expected_id
    assert decoder.reconnection_time == event.retry
    if event.data is None:
        assert received == []
    else:
        kind = as_received(event.event or "") or "message"
        assert received == [MessageEvent(as_received(event.data), kind, expected_id)]


@given(EVENTS, EVENTS)
def test_an_encoded_event_leaves_nothing_open_for_the_next(
    first: ServerSentEvent, second: ServerSentEvent
):
    decoder = EventStreamDecoder()
    events = decoder.feed(first.encode())
    afresh = EventStreamDecoder(last_event_id=decoder.last_event_id)
    assert decoder.feed(second.encode()) == afresh.feed(second.encode())
    assert decoder.last_event_id == afresh.last_event_id
    assert len(events) == (first.data is not None)


@given(TEXT)
def test_encode_data_is_an_event_with_data_alone(text: str):
    assert encode_data(text) == ServerSentEvent(text).encode()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"data": 1}, r"data must be a str or None, not of type int: .*json\.dumps"),
        ({"data": b"a"}, "data must be a str or None, not of type bytes"),
        ({"event": 1}, r"event must be a str or None, not 1 \(int\): give the event type"),
        ({"id": 7}, r"id must be a str or None, not 7 \(int\): convert it with str\(\)"),
        ({"comment": 1.5}, "comment must be a str or None, not of type float"),
        ({"event": "a\nb"}, r"event must not have the character LF, as 'a\\nb' has: .*remove"),
        ({"event": "a\rb"}, r"event must not have the character CR"),
        ({"id": "\n"}, r"id must not have the character LF, as '\\n' has"),
        ({"id": "1\r"}, r"id must not have the character CR"),
        ({"id": "1\x00"}, r"id must not have the character NUL, as '1\\x00' has"),
        ({"retry": True}, r"retry must be an int or None, not True \(bool\): .*milliseconds"),
        ({"retry": 1.0}, r"retry must be an int or None, not 1\.0 \(float\)"),
        ({"retry": "1"}, r"retry must be an int or None, not '1' \(str\)"),
        ({"retry": -1}, r"retry must be between 0 and 9223372036854775807 .*not -1: leave it out"),
        ({"retry": 2**63}, r"retry must be between 0 and .*not 9223372036854775808"),
        ({"retry": 10**5000}, r"retry must be between 0 and .*not <int>"),
        ({"id": ["x" * 1000]}, r"not \['x{58}\.\.\. \(list\)"),
        ({"id": "x" * 1000 + "\n"}, r"as 'x{59}\.\.\. has"),
    ],
)
def test_a_field_that_the_wire_cannot_carry_is_refused(fields: dict[str, object], message: str):
    with pytest.raises(InvalidEventError, match=message) as raised:
        ServerSentEvent(**fields)  # type: ignore[arg-type]
    assert isinstance(raised.value, ValueError)


def test_a_value_whose_repr_fails_is_refused_by_its_type():
    class Broken:
        def __repr__(self) -> str:
            raise RuntimeError

    with pytest.raises(InvalidEventError, match=r"not <Broken> \(Broken\)"):
        ServerSentEvent(id=Broken())  # type: ignore[arg-type]


def test_a_nul_in_an_event_type_is_carried():
    assert ServerSentEvent("a", event="b\0").encode() == b"event: b\0\ndata: a\n\n"


def test_a_message_event_is_of_type_message_unless_told():
    event = MessageEvent("a")
    assert (event.data, event.type, event.last_event_id) == ("a", "message", "")
    assert MessageEvent("a", "b", "c") == MessageEvent(data="a", type="b", last_event_id="c")
    assert repr(event) == "MessageEvent(data='a', type='message', last_event_id='')"


@pytest.mark.parametrize(
    "event",
    [ServerSentEvent("a", id="1"), MessageEvent("a", "b", "c"), message_event("a", "b", "c")],
)
def test_events_are_values(event: ServerSentEvent | MessageEvent):
    assert {event, copy.copy(event), copy.deepcopy(event)} == {event}
    assert pickle.loads(pickle.dumps(event)) == event
    assert dataclasses.replace(event, data="x").data == "x"
    assert type(event)(**dataclasses.asdict(event)) == event  # type: ignore[arg-type]
    assert not hasattr(event, "__dict__")
    with pytest.raises(dataclasses.FrozenInstanceError):
        event.data = "x"  # type: ignore[misc]


@given(st.lists(st.text()), st.text())
def test_events_made_the_fast_way_are_the_same(texts: list[str], last_event_id: str):
    expected = [MessageEvent(text, "message", last_event_id) for text in texts]
    made = message_events(texts, last_event_id)
    assert made == expected == [message_event(text, "message", last_event_id) for text in texts]
    assert all(type(event) is MessageEvent for event in made)
