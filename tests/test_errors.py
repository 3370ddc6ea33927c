"""No message shows what travels: messages end in logs, and the text of users must not."""

import pytest

from sse_asgi import (
    EventStream,
    EventStreamDecoder,
    InvalidEventError,
    JSONFraming,
    Reasoning,
    ServerSentEvent,
    ToolCall,
)
from sse_asgi.client import EventSource, collect_text, iter_events

SECRET = "the patient's name"
URL = "http://localhost/"


class Secretive:
    """What no field, body or header can be; its representation is what it holds."""

    def __repr__(self):
        return SECRET


@pytest.mark.parametrize("field", ["data", "comment"])
@pytest.mark.parametrize("value", [SECRET.encode(), [SECRET], {"name": SECRET}, Secretive()])
def test_an_events_text_of_a_wrong_type_is_named_by_its_type(field, value):
    with pytest.raises(InvalidEventError) as caught:
        ServerSentEvent(**{field: value})
    message = str(caught.value)
    assert f"{field} must be a str or None, not of type {type(value).__name__}: " in message
    assert SECRET not in message


PASSES_ON = {
    "a chunk": lambda: EventStreamDecoder().feed(SECRET),
    "an event's data": lambda: collect_text([f"data: {SECRET}\n\n".encode()], JSONFraming()),
    "a response's text": lambda: collect_text(SECRET),
    "a response's body": lambda: iter_events(SECRET.encode()),
    "a request's text": lambda: EventSource(URL, content=[SECRET]),
    "a request's JSON of a wrong type": lambda: EventSource(URL, json={SECRET: Secretive()}),
    "a request's JSON of a wrong value": lambda: EventSource(URL, json=[SECRET, float("nan")]),
    "a request's JSON that is no UTF-8": lambda: EventSource(URL, json=[SECRET, "\ud800"]),
    "a request's header of a wrong type": lambda: EventSource(URL, headers={"a": [SECRET]}),
    "a request's headers": lambda: EventSource(URL, headers=f"a: {SECRET}"),
    "a request's header with a newline": lambda: EventSource(URL, headers={"a": SECRET + "\n"}),
    "a request's broken header": lambda: EventSource(URL, headers={"a": f"{SECRET}\ud800"}),
    "reasoning of a wrong type": lambda: Reasoning([SECRET]),
    "a tool call's arguments": lambda: ToolCall("find", SECRET),
    "a tool call's arguments of a wrong type": lambda: ToolCall("find", [SECRET]),
    "a tool call's odd argument": lambda: ToolCall("find", {SECRET: Secretive()}),
    "a header of a wrong type": lambda: EventStream([], headers={"a": SECRET.encode()}),
    "headers": lambda: EventStream([], headers=f"a: {SECRET}"),
    "a header with a newline": lambda: EventStream([], headers={"a": SECRET + "\n"}),
    "a header that is not Latin-1": lambda: EventStream([], headers={"a": SECRET + "\u20ac"}),
}  # fmt: skip


@pytest.mark.parametrize("pass_on", PASSES_ON.values(), ids=PASSES_ON)
def test_what_is_passed_on_wrongly_is_not_shown(pass_on):
    with pytest.raises((TypeError, ValueError)) as caught:
        pass_on()
    assert SECRET not in str(caught.value)
