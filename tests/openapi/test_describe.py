"""The description of a stream: a valid document, and every event that is sent fits it."""

import json
from dataclasses import dataclass

import pytest

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    JSONFraming,
    Outcome,
    Reasoning,
    ServerSentEvent,
    TextFraming,
    ToolCall,
    Usage,
)
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.openapi import describe_stream
from sse_asgi.openapi.dialects import EVENTS
from sse_asgi.starlette import EventStreamResponse
from tests.conftest import require

FRAMINGS = [
    TextFraming(),
    TextFraming(done=None),
    JSONFraming(),
    JSONFraming(done="end"),
    ChatCompletions("m"),
    ChatCompletions("m", include_usage=True),
    Responses("m"),
    AnthropicMessages("m"),
    UIMessages(),
    AGUI(thread_id="t", run_id="r"),
]
PARTS = [
    Reasoning("why"), "Hi", ToolCall("weather", {"city": "Oslo"}), Reasoning("so"), "there",
    ToolCall("weather", ""), Usage(1, 2), Finish("length"),
]  # fmt: skip
ENDS = [
    lambda encoder: encoder.end(),
    lambda encoder: encoder.end(Outcome.STOPPED),
    lambda encoder: encoder.fail("no", Outcome.FAILED),
]


def item_schema(events):
    return describe_stream(events)[200]["content"]["text/event-stream"]["itemSchema"]


def events_of(framing, parts, end):
    encoder = framing.encoder()
    encoded = [encoder.begin()]
    for part in parts:
        encoded.append(encoder.text([part]) if isinstance(part, str) else encoder.part(part))
    return EventStreamDecoder().feed(b"".join([*encoded, end(encoder)]))


def fits(event, schema):
    """Tell whether an event, and the JSON in its data, is what a schema describes."""
    from jsonschema import Draft202012Validator

    fields = {"data": event.data} | ({} if event.type == "message" else {"event": event.type})
    if not Draft202012Validator(schema).is_valid(fields):
        return False
    if event.type != "message" and "event" not in schema["properties"]:
        return False
    inner = schema["properties"]["data"].get("contentSchema")
    if inner is None:
        return True
    try:
        data = json.loads(event.data)
    except ValueError:
        return False
    return Draft202012Validator(inner).is_valid(data)


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
@pytest.mark.parametrize("end", ENDS, ids=["end", "stopped", "failed"])
@pytest.mark.parametrize("parts", [PARTS, PARTS[1:2], []], ids=["all", "text", "none"])
def test_every_event_that_is_sent_is_one_that_is_described(framing, end, parts):
    require("jsonschema.validators")
    known = item_schema(framing)["anyOf"]
    events = events_of(framing, parts, end)
    assert events or not parts
    odd = [event for event in events if not any(fits(event, schema) for schema in known)]
    assert odd == []


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_another_event_is_none_that_is_described(framing):
    require("jsonschema.validators")
    known = item_schema(framing)["anyOf"]
    odd = EventStreamDecoder().feed(ServerSentEvent(event="odd", data='{"type": "odd"}').encode())[
        0
    ]
    assert not any(fits(odd, schema) for schema in known)


def test_each_dialect_is_described():
    import sse_asgi.dialects

    assert {kind.__name__ for kind in EVENTS} >= set(sse_asgi.dialects.__all__)


@pytest.mark.parametrize("framing", FRAMINGS, ids=repr)
def test_each_object_of_a_framing_has_a_title_of_its_own(framing):
    contents = [
        schema["properties"]["data"].get("contentSchema", {})
        for schema in item_schema(framing)["anyOf"]
    ]
    titles = [content["title"] for content in contents if content.get("type") == "object"]
    assert all(title.isidentifier() for title in titles)
    assert len({*titles}) == len(titles) > 0


# A user's models


@dataclass
class Step:
    name: str
    done: bool = False


@dataclass
class Progress:
    share: float
    steps: list[Step]


def test_a_model_is_the_data_of_every_event():
    require("pydantic")
    schema = item_schema(Progress)
    content = schema["properties"]["data"]["contentSchema"]
    assert schema["required"] == ["data"]
    assert content["properties"]["steps"]["items"]["properties"]["name"]["type"] == "string"
    assert "$ref" not in json.dumps(schema)


def test_events_of_several_types_have_a_model_each():
    require("pydantic")
    progress, text = item_schema({"progress": Progress, "message": str})["anyOf"]
    assert progress["properties"]["event"] == {"const": "progress"}
    assert text["properties"]["data"]["contentSchema"] == {"type": "string"}
    assert "event" not in text["properties"]


def test_a_model_that_refers_to_itself_is_refused():
    pydantic = pytest.importorskip("pydantic")

    class Tree(pydantic.BaseModel):
        children: "list[Tree]"

    Tree.model_rebuild(_types_namespace={"Tree": Tree})
    with pytest.raises(ValueError, match="the model Tree refers to itself"):
        describe_stream(Tree)


class OwnFraming:
    headers = {}  # noqa: RUF012 - as users write it

    def encoder(self):
        return TextFraming().encoder()

    def decoder(self):
        return TextFraming().decoder()


@pytest.mark.parametrize(
    ("events", "said"),
    [
        (5, "events must be a framing, a model or a mapping of models, not 5"),
        (OwnFraming(), "OwnFraming is a framing of your own"),
    ],
)
def test_what_cannot_be_described_is_refused(events, said):
    require("pydantic")
    with pytest.raises(TypeError, match=said):
        describe_stream(events)


# The document


@pytest.mark.parametrize("events", [*FRAMINGS, Progress, {"progress": Progress}], ids=repr)
def test_the_document_of_fastapi_is_valid(events):
    fastapi = pytest.importorskip("fastapi")
    require("openapi_spec_validator")
    from openapi_spec_validator import OpenAPIV32SpecValidator

    app = fastapi.FastAPI()
    app.openapi_version = "3.2.0"

    @app.get("/answer", response_class=EventStreamResponse, responses=describe_stream(events))
    def answer():
        return EventStreamResponse(["a"])

    document = json.loads(json.dumps(app.openapi()))
    OpenAPIV32SpecValidator(document).validate()
    content = document["paths"]["/answer"]["get"]["responses"]["200"]["content"]
    assert content["text/event-stream"]["itemSchema"] == json.loads(json.dumps(item_schema(events)))
