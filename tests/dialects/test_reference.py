"""The reference of the dialects says what their encoders send and their decoders take."""

import re

import pytest

from sse_asgi import (
    EventStream,
    EventStreamDecoder,
    Finish,
    IncompleteStreamError,
    Outcome,
    StreamFailedError,
)
from sse_asgi.testing import collect_text, connect
from tests import documents
from tests.dialects import on_wire
from tests.dialects.on_wire import FRAMINGS, SOURCE
from tests.documents import DOCS

PAGE = DOCS / "reference" / "dialects.md"
_, WIRE, REASONS, COMPLETE = documents.tables_in(PAGE)
COLUMNS = ("Text", "Reasoning", "Tool call", "Usage", "Finish", "Error")
FINISHED = {
    "ChatCompletions": "tool_calls",
    "Responses": "completed",
    "AnthropicMessages": "tool_use",
    "UIMessages": "tool-calls",
    "AGUI": "tool_calls",
}


def names_in(rows):
    return [row[0].strip("`") for row in rows]


def test_the_tables_have_every_dialect():
    assert names_in(WIRE) == names_in(COMPLETE) == [*FRAMINGS]


@pytest.mark.parametrize("row", WIRE, ids=names_in(WIRE))
@pytest.mark.parametrize("column", COLUMNS)
def test_what_a_cell_names_is_on_the_wire(row, column):
    name = row[0].strip("`")
    expected = dict(
        zip(
            COLUMNS,
            ("Hello", "Think", "weather", 9, FINISHED[name], on_wire.MESSAGE),
            strict=True,
        )
    )
    kind, path = place_in(row[1 + COLUMNS.index(column)])
    encoded = on_wire.encode(FRAMINGS[name], SOURCE, ends=column != "Error")
    events = [each for each in on_wire.objects(encoded) if kind is None or each["type"] == kind]
    assert expected[column] in [on_wire.at(event, path) for event in events]


def place_in(cell):
    """Return the type and the path that a cell of the table names."""
    first, second = re.match(r"`([^`]+)`(?:: `([^`]+)`)?", cell).groups()
    return (None, first) if second is None else (first, second)


@pytest.mark.anyio
@pytest.mark.parametrize("row", WIRE, ids=names_in(WIRE))
async def test_the_keep_alive_is_the_comment_of_every_stream(row):
    import anyio

    goes_on = anyio.Event()

    async def waits(request):
        await goes_on.wait()
        yield "Hello"

    stream = EventStream(waits, framing=FRAMINGS[row[0].strip("`")], heartbeat=0.01)
    async with connect(stream) as connection:
        assert await connection.read() == f"{row[-1].strip('`')}\n".encode()
        goes_on.set()


@pytest.mark.parametrize("name", FRAMINGS)
def test_the_examples_are_what_is_sent(name):
    blocks = {block.text for block in documents.blocks_of(PAGE, "text")}
    assert on_wire.shown(FRAMINGS[name]) in blocks


@pytest.mark.parametrize("row", REASONS, ids=names_in(REASONS))
def test_the_reasons_to_finish_are_what_is_sent(row):
    assert row[1:] == reasons(row[0].strip("`"))


def reasons(reason):
    """Return a row of the table of reasons to finish, without its head."""
    return [f"`{reason_in(name, reason)}`" for name in FRAMINGS]


def reason_in(name, reason):
    encoder = FRAMINGS[name].encoder()
    encoder.begin()
    if reason == "stopped":
        encoded = encoder.end(Outcome.STOPPED)
    else:
        encoder.part(Finish(reason))
        encoded = encoder.end()
    return next(found for each in on_wire.objects(encoded) if (found := word_in(each)))


def word_in(event):
    """Return what an event says of the reason to finish, None if nothing."""
    cause = on_wire.at(event, "response.incomplete_details.reason")
    status = on_wire.at(event, "response.status")
    if status:
        return f"{status}: {cause}" if cause else status
    if event.get("type") == "abort":
        return "abort"
    outcome = on_wire.at(event, "outcome.type")
    paths = (
        "choices[0].finish_reason",
        "delta.stop_reason",
        "finishReason",
        "metadata.finishReason",
    )
    told = [word for path in paths if (word := on_wire.at(event, path))]
    return told[0] if told else outcome


@pytest.mark.anyio
@pytest.mark.parametrize("row", COMPLETE, ids=names_in(COMPLETE))
async def test_a_stream_is_complete_with_what_the_page_names(row):
    framing = FRAMINGS[row[0].strip("`")]
    whole = on_wire.encode(framing, SOURCE)
    words = re.findall(r"`([^`]+)`", row[1])
    position = max(whole.rfind(word.encode()) for word in words)
    end = whole.index(b"\n\n", position) + 2
    start = whole.rindex(b"\n\n", 0, position) + 2
    assert await collect(whole[:end], framing) == "Hello"
    with pytest.raises(IncompleteStreamError) as caught:
        await collect(whole[:start], framing)
    assert caught.value.text == "Hello"
    with pytest.raises(StreamFailedError, match="failed on the server"):
        await collect(on_wire.encode(framing, SOURCE, ends=False), framing)


async def collect(body, framing):
    async def app(scope, receive, send):
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async with connect(app) as connection:
        return await collect_text(connection, framing)


def test_every_option_of_a_dialect_is_named():
    options, *_ = documents.tables_in(PAGE)
    for name, listed, _ in options:
        framing = FRAMINGS[name.strip("`")]
        fields = [field for field in framing.__dataclass_fields__ if field != "_"]
        assert re.findall(r"`(\w+)`", listed) == fields


def test_a_line_of_an_example_is_one_event():
    for framing in FRAMINGS.values():
        events = EventStreamDecoder().feed(on_wire.encode(framing, SOURCE))
        whole, _, _ = on_wire.shown(framing).partition("\n\n")
        assert len(whole.splitlines()) == len(events)
