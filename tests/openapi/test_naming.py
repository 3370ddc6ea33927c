"""The models of streams among a document's components, where generators make types of them."""

import json
from dataclasses import dataclass

import pytest

from sse_asgi.dialects import ChatCompletions, Responses
from sse_asgi.openapi import describe_stream, name_models
from sse_asgi.starlette import EventStreamResponse
from tests.conftest import require
from tests.openapi.test_describe import FRAMINGS


@pytest.fixture(autouse=True)
def _parts():
    require("pydantic")


@dataclass
class Step:
    name: str


@dataclass
class Progress:
    share: float
    steps: list[Step]


def document_of(*streams):
    """Return a document in which each of these is the description of an endpoint."""
    paths = {
        f"/{number}": {"get": {"responses": json.loads(json.dumps(describe_stream(events)))}}
        for number, events in enumerate(streams)
    }
    info = {"title": "t", "version": "1"}
    return {"openapi": "3.2.0", "info": info, "paths": paths}


def item_of(document, path="/0"):
    response = document["paths"][path]["get"]["responses"]["200"]
    return response["content"]["text/event-stream"]["itemSchema"]


def whole(value, components):
    """Return a schema with each reference replaced by what it refers to."""
    if isinstance(value, list):
        return [whole(each, components) for each in value]
    if not isinstance(value, dict):
        return value
    if "$ref" in value:
        name = value["$ref"].removeprefix("#/components/schemas/")
        return whole(components[name], components)
    return {key: whole(each, components) for key, each in value.items()}


def test_a_model_and_what_it_holds_are_components():
    document = name_models(document_of(Progress))
    components = document["components"]["schemas"]
    assert {*components} == {"Progress", "Step"}
    steps = components["Progress"]["properties"]["steps"]
    assert steps["items"] == {"$ref": "#/components/schemas/Step"}
    content = item_of(document)["properties"]["data"]["contentSchema"]
    assert content == {"$ref": "#/components/schemas/Progress"}


@pytest.mark.parametrize("events", [*FRAMINGS, Progress, {"a": Progress, "b": Step}], ids=repr)
def test_the_description_is_the_same_and_valid(events):
    require("openapi_spec_validator")
    from openapi_spec_validator import OpenAPIV32SpecValidator

    before = item_of(document_of(events))
    document = name_models(document_of(events))
    OpenAPIV32SpecValidator(document).validate()
    components = document["components"]["schemas"]
    assert components
    assert whole(item_of(document), components) == before
    again = json.dumps(document)
    assert json.dumps(name_models(document)) == again


def test_streams_share_a_model_and_two_of_a_name_are_told_apart():
    first, other = Progress, dataclass(type("Step", (), {"__annotations__": {"number": int}}))
    document = name_models(document_of(first, {"step": Step, "other": other}))
    components = document["components"]["schemas"]
    assert {*components} == {"Progress", "Step", "Step2"}
    assert [*components["Step"]["properties"]] == ["name"]
    assert [*components["Step2"]["properties"]] == ["number"]


def test_what_is_no_model_stays():
    document = document_of(str)
    before = json.dumps(document)
    assert json.dumps(name_models(document)) == before
    example = {"title": "Fake", "type": "object", "properties": {}}
    document = document_of(Step)
    item_of(document)["properties"]["data"]["contentSchema"]["default"] = example
    assert {*name_models(document)["components"]["schemas"]} == {"Step"}
    assert document["components"]["schemas"]["Step"]["default"] == example


def test_a_model_that_fastapi_knows_too_is_one_component():
    fastapi = pytest.importorskip("fastapi")
    require("openapi_spec_validator")
    from openapi_spec_validator import OpenAPIV32SpecValidator

    app = fastapi.FastAPI()
    app.openapi_version = "3.2.0"

    @app.get("/now")
    def now() -> Progress:
        raise NotImplementedError

    @app.get("/work", response_class=EventStreamResponse, responses=describe_stream(Progress))
    @app.get("/chat", response_class=EventStreamResponse, responses=describe_stream(Responses("m")))
    @app.get(
        "/say", response_class=EventStreamResponse, responses=describe_stream(ChatCompletions("m"))
    )
    def work():
        return EventStreamResponse(["a"])

    make = app.openapi
    app.openapi = lambda: name_models(make())
    document = json.loads(json.dumps(app.openapi()))
    OpenAPIV32SpecValidator(document).validate()
    names = {*document["components"]["schemas"]}
    assert names >= {"Progress", "Step", "ResponsesOutputTextDelta", "ChatCompletionsChunk"}
    assert not [name for name in names if name.endswith("2")]
