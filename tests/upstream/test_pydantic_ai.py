"""Pydantic AI's streams as sources, over the official clients of a recorded upstream."""

import asyncio
from contextlib import aclosing
from types import SimpleNamespace

import anyio
import pytest

from sse_asgi import Finish, Reasoning, ToolCall, Usage
from sse_asgi.errors import UpstreamTruncatedError
from sse_asgi.upstream import from_pydantic_ai
from tests.conftest import require
from tests.upstream.recorded import ANTHROPIC, CHAT, RESPONSES, Upstream

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    """Run on asyncio only: an agent needs its tasks."""
    return "asyncio"


# The answer without its call: an agent would run the tool, and ask the model again.
CHAT_TEXT = [*CHAT[:4], CHAT[7] | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
             CHAT[8]]  # fmt: skip
ANTHROPIC_TEXT = [*ANTHROPIC[:10], ANTHROPIC[-2] | {"delta": {"stop_reason": "end_turn"}},
                  ANTHROPIC[-1]]  # fmt: skip
RESPONSES_TEXT = [*RESPONSES[:12], RESPONSES[-1]]
WHOLE = [Usage(9, 4), Finish("stop")]


def agent_of(model):
    require("pydantic_ai")
    from pydantic_ai import Agent

    return Agent(model)


def chat_model(upstream):
    require("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = upstream.client("AsyncOpenAI")
    return OpenAIChatModel("m", provider=OpenAIProvider(openai_client=client))


def responses_model(upstream):
    require("pydantic_ai")
    from pydantic_ai.models.openai import OpenAIResponsesModel
    from pydantic_ai.providers.openai import OpenAIProvider

    client = upstream.client("AsyncOpenAI")
    return OpenAIResponsesModel("m", provider=OpenAIProvider(openai_client=client))


def anthropic_model(upstream):
    require("pydantic_ai")
    from pydantic_ai.models.anthropic import AnthropicModel
    from pydantic_ai.providers.anthropic import AnthropicProvider

    client = upstream.client("AsyncAnthropic")
    return AnthropicModel("m", provider=AnthropicProvider(anthropic_client=client))


MODELS = [
    # the model, its events, and those of them that must have come
    pytest.param(chat_model, CHAT_TEXT, 5, id="chat"),
    pytest.param(responses_model, RESPONSES_TEXT, 13, id="responses"),
    pytest.param(anthropic_model, ANTHROPIC_TEXT, 11, id="anthropic"),
]
STREAMS = [
    pytest.param(lambda agent: agent.run_stream_events("Hi"), id="run_stream_events"),
    pytest.param(lambda agent: agent.run_stream("Hi"), id="run_stream"),
]


async def collect(source, items):
    async for item in source:
        items.append(item)


def said(items):
    """Return the text and the reasoning, joined: Pydantic AI cuts them anew."""
    text = "".join(item for item in items if isinstance(item, str))
    return text, "".join(item.text for item in items if isinstance(item, Reasoning))


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("model", "events", "terminal"), MODELS)
async def test_the_whole_answer_comes_through(model, events, terminal, stream):
    upstream, items = Upstream(events=events), []

    await collect(from_pydantic_ai(stream(agent_of(model(upstream)))), items)

    assert said(items) == ("Hello\n[DONE]\u2028 🦜", "Think")
    assert items[-2:] == WHOLE
    assert upstream.is_closed


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize(("model", "events", "terminal"), MODELS)
async def test_an_answer_cut_anywhere_raises(model, events, terminal, stream):
    for cut in range(terminal):
        upstream, items = Upstream(events=events, cut=cut), []

        # Without any text, Pydantic AI itself raises.
        with pytest.raises(Exception, match=r"without a result|Streamed response|output|empty"):
            await collect(from_pydantic_ai(stream(agent_of(model(upstream)))), items)

        assert Finish("stop") not in items


async def test_an_answer_cut_after_its_text_raises_our_error():
    items = []
    upstream = Upstream(events=CHAT_TEXT, cut=4)
    with pytest.raises(UpstreamTruncatedError, match="finish reason"):
        await collect(
            from_pydantic_ai(agent_of(chat_model(upstream)).run_stream_events("Hi")), items
        )
    assert said(items) == ("Hello\n[DONE]\u2028 🦜", "Think")


@pytest.mark.parametrize("stream", STREAMS)
async def test_leaving_half_way_closes_the_upstream(stream):
    waits = anyio.Event()

    async def wait():
        waits.set()
        await anyio.sleep_forever()

    upstream, items = Upstream(events=CHAT_TEXT, cut=4, before_end=wait), []

    async def read():
        async with aclosing(from_pydantic_ai(stream(agent_of(chat_model(upstream))))) as source:
            await collect(source, items)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        await waits.wait()
        group.cancel_scope.cancel()

    assert upstream.is_closed


async def test_a_tool_that_the_agent_runs_comes_through():
    require("pydantic_ai")
    from pydantic_ai import Agent
    from pydantic_ai.models.function import DeltaThinkingPart, DeltaToolCall, FunctionModel

    async def speak(messages, info):
        if len(messages) == 1:
            yield {0: DeltaThinkingPart(content="Think")}
            yield {1: DeltaToolCall(name="weather", json_args='{"city":', tool_call_id="call_1")}
            yield {1: DeltaToolCall(json_args='"Århus"}', tool_call_id="call_1")}
        else:
            yield "sun"
            yield "ny"

    agent = Agent(FunctionModel(stream_function=speak))

    @agent.tool_plain
    def weather(city: str) -> str:
        return f"sunny in {city}"

    items = []
    await collect(from_pydantic_ai(agent.run_stream_events("Hi")), items)

    assert said(items) == ("sunny", "Think")
    assert ToolCall("weather", '{"city":"Århus"}', "call_1") in items
    assert items[-1] == Finish("stop")


async def test_a_model_without_an_agent():
    require("pydantic_ai")
    from pydantic_ai.direct import model_request_stream
    from pydantic_ai.messages import ModelRequest

    for cut in (4, None):
        upstream, items = Upstream(events=CHAT_TEXT, cut=cut), []
        messages = [ModelRequest.user_text_prompt("Hi")]
        source = from_pydantic_ai(model_request_stream(chat_model(upstream), messages))
        if cut is None:
            await collect(source, items)
            assert items[-2:] == WHOLE
        else:
            with pytest.raises(UpstreamTruncatedError):
                await collect(source, items)
        assert said(items) == ("Hello\n[DONE]\u2028 🦜", "Think")


@pytest.fixture
def event_loop_of_thread():
    """Give the thread the event loop that Pydantic AI would otherwise make, and leave open."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    asyncio.set_event_loop(None)
    loop.close()


@pytest.mark.usefixtures("event_loop_of_thread")
def test_a_sync_stream():
    upstream = Upstream(events=CHAT_TEXT)
    agent = agent_of(chat_model(upstream))

    items = list(from_pydantic_ai(agent.run_stream_sync("Hi")))

    assert said(items) == ("Hello\n[DONE]\u2028 🦜", "Think")
    assert items[-2:] == WHOLE
    assert upstream.is_closed


def test_what_is_no_stream_is_refused():
    with pytest.raises(TypeError, match="takes the stream"):
        from_pydantic_ai("text")


class Snapshots:
    """A stream of an agent's that gives its response, anew and longer each time."""

    def __init__(self, *snapshots, **last):
        self.snapshots = [SimpleNamespace(kind="response", parts=parts) for parts in snapshots]
        whole = {"finish_reason": None, "provider_url": None, "state": "complete"}
        self.response = SimpleNamespace(parts=snapshots[-1], **(whole | last))

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def stream_response(self, *, debounce_by):
        for snapshot in self.snapshots:
            yield snapshot

    def usage(self):
        return SimpleNamespace(input_tokens=9, output_tokens=4)


def part(kind, **fields):
    return SimpleNamespace(part_kind=kind, **fields)


TEXT = part("text", content="Hello")
CALL = part("tool-call", tool_name="weather", tool_call_id="call_1", args_as_json_str=lambda: "{}")


async def test_calls_of_snapshots_come_when_they_are_whole():
    items = []
    growing = [[part("text", content="Hel")], [TEXT], [TEXT, CALL]]
    await collect(from_pydantic_ai(Snapshots(*growing)), items)
    assert items == [
        "Hel", "lo", ToolCall("weather", {}, "call_1"), Usage(9, 4), Finish("tool_calls"),
    ]  # fmt: skip


async def test_a_response_that_says_itself_that_it_was_cut_raises():
    items = []
    with pytest.raises(UpstreamTruncatedError):
        await collect(from_pydantic_ai(Snapshots([TEXT], state="interrupted")), items)
    assert items == ["Hello"]


async def test_what_is_no_event_is_named():
    async def strangers():
        yield object()

    with pytest.raises(TypeError, match="a value of type object, which is no event of Pydantic AI"):
        await collect(from_pydantic_ai(strangers()), [])
