"""Every event and every whole answer fits the APIs' own models, field by field.

The clients themselves check nothing: they take what comes. These models come from the APIs'
published descriptions; those of Open Responses are generated from its schemas.
"""

from functools import cache
from typing import Union

import pytest
from pydantic import TypeAdapter

from sse_asgi import Finish, Reasoning, ToolCall, Usage
from sse_asgi.chat import ChatApp
from tests.chat.asking import ANTHROPIC, BODIES, CHAT, RESPONSES, ask
from tests.conftest import require
from tests.lazily import anthropic, openai

pytestmark = pytest.mark.anyio


MODELS = {
    CHAT: ("ChatCompletion", "ChatCompletionChunk"),
    RESPONSES: ("Response", "ResponseStreamEvent"),
    ANTHROPIC: ("Message", "RawMessageStreamEvent"),
}


@cache  # to make one takes much longer than to ask it
def fitting(path, name):
    """Return what checks an object of an API by its own model of this name."""
    if path == ANTHROPIC:
        return TypeAdapter(getattr(anthropic.types, name))
    types = openai.types.chat if path == CHAT else openai.types.responses
    return TypeAdapter(getattr(types, name))


async def everything(chat):
    yield Reasoning("Think")
    yield "Hello"
    yield ToolCall("weather", {"city": "Århus"}, "call_1")
    yield "again"
    yield Usage(9, 4)


async def nothing(chat):
    for chunk in ():
        yield chunk


async def cut(chat):
    yield "Hel"
    yield Finish("length")


@pytest.mark.parametrize("path", MODELS)
@pytest.mark.parametrize("generate", [everything, nothing, cut])
async def test_whole_answers_and_events_fit_the_models(path, generate):
    whole, event = MODELS[path]
    answer = await ask(ChatApp(generate), path, BODIES[path])
    fitting(path, whole).validate_json(answer.body, strict=True)

    body = BODIES[path] | {"stream": True, "stream_options": {"include_usage": True}}
    events = (await ask(ChatApp(generate), path, body)).events
    assert len(events) > 1
    for each in events:
        told = fitting(path, event).validate_python(each)
        assert getattr(told, "type", None) == each.get("type")


async def fails(chat):
    yield "Hel"
    raise LookupError


@pytest.fixture(scope="module")
def open_responses():
    """Return what checks a response, and what checks an event, by Open Responses' schemas."""
    require("openresponses_types")
    from openresponses_types import types

    kinds = tuple(kind for name, kind in vars(types).items() if name.endswith("StreamingEvent"))
    return TypeAdapter(types.ResponseResource), TypeAdapter(Union[kinds])  # noqa: UP007 - of a tuple


@pytest.mark.parametrize("generate", [everything, nothing, cut, fails])
async def test_responses_fit_open_responses(generate, open_responses):
    whole, event = open_responses
    body = BODIES[RESPONSES]
    events = (await ask(ChatApp(generate), RESPONSES, body | {"stream": True})).events
    assert len(events) > 2
    for number, each in enumerate(events):
        assert event.validate_python(each).type.value == each["type"]
        assert each["sequence_number"] == number
    if generate is not fails:
        whole.validate_json((await ask(ChatApp(generate), RESPONSES, body)).body)
