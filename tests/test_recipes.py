"""The recipes run as their pages show them: each over a fake of its model, in process."""

import pytest

from sse_asgi import Finish, Outcome, ToolCall, Usage
from sse_asgi.testing import connect
from tests import documents
from tests.chat import asking as chat
from tests.chat.asking import BODIES, CHAT
from tests.conftest import require
from tests.documents import DOCS, EXAMPLES
from tests.upstream.recorded import Upstream

RECIPES = DOCS / "how-to" / "recipes"
TEXT = "Hello\n[DONE]\u2028 🦜"
ASKED = {"method": "POST", "json": {"prompt": "Hi"}}


@pytest.fixture(scope="module")
def anyio_backend():
    """Run the recipes as their readers do, on asyncio."""
    return "asyncio"


def recipe(name, needs):
    """Return what the page of a recipe defines."""
    require(needs)
    return documents.run(RECIPES / name)


@pytest.mark.parametrize("page", sorted(RECIPES.glob("*.md")), ids=documents.name_of)
def test_a_recipe_begins_with_its_example(page):
    first, *_ = documents.blocks_of(page, "python")
    example = EXAMPLES / f"recipe_{page.stem.replace('-', '_')}.py"
    assert first.text == example.read_text()


async def ask(app):
    """Return the text that the page of a recipe's user shows, and every event's type."""
    async with connect(app, "/answer", **ASKED) as connection:
        events = [event async for event in connection]
    shown = "".join(event.data for event in events if event.type == "message")
    return shown, [event.type for event in events]


async def ask_chat(app):
    """Return what OpenAI's client gets from the chat app of a recipe."""
    body = BODIES[CHAT] | {"model": "my-assistant"}
    answer = await chat.ask(app, CHAT, body)
    return answer.json["choices"][0]["message"]["content"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("page", "kind"),
    [("openai.md", "AsyncOpenAI"), ("anthropic.md", "AsyncAnthropic")],
)
async def test_an_answer_of_an_sdk_is_streamed_and_saved(page, kind):
    names = recipe(page, "fastapi")
    upstream = Upstream()
    names["client"] = upstream.client(kind)
    shown, kinds = await ask(names["app"])
    assert shown == f"{TEXT}[DONE]"
    assert kinds[-2:] == ["finish", "message"]
    assert {"reasoning", "tool_call", "usage"} <= set(kinds)
    assert names["saved"] == [("Hi", TEXT, Outcome.COMPLETED, Usage(9, 4))]
    assert upstream.is_closed
    answer = await ask_chat(names["chat_app"])
    assert answer == TEXT


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("page", "kind", "cut"),
    [("openai.md", "AsyncOpenAI", 4), ("anthropic.md", "AsyncAnthropic", 9)],
)
async def test_a_cut_answer_of_an_sdk_ends_with_an_error_and_is_saved_as_failed(page, kind, cut):
    names = recipe(page, "fastapi")
    names["client"] = Upstream(cut=cut).client(kind)
    _, kinds = await ask(names["app"])
    assert kinds[-1] == "error"
    [(_, text, outcome, _)] = names["saved"]
    assert (text, outcome) == (TEXT, Outcome.FAILED)


@pytest.mark.anyio
async def test_an_answer_of_langchain_is_streamed_and_saved():
    names = recipe("langchain.md", "langchain_core")
    shown, kinds = await ask(names["app"])
    assert shown == "Hello from LangChain.[DONE]"
    assert set(kinds) == {"message"}
    assert names["saved"] == [("Hi", "Hello from LangChain.", Outcome.COMPLETED, None)]
    assert await ask_chat(names["chat_app"]) == "Hello from LangChain."


@pytest.fixture
def counting_model():
    """Return a chat model of LangChain's that counts its tokens, and notes that it was closed."""
    require("langchain_core")
    from langchain_core.language_models.fake_chat_models import FakeListChatModel
    from langchain_core.messages import AIMessageChunk
    from langchain_core.outputs import ChatGenerationChunk
    from pydantic import Field

    class CountingModel(FakeListChatModel):
        closed: list[bool] = Field(default_factory=list)

        async def _astream(self, *arguments, **options):
            try:
                for output in (1, 2):
                    usage = {"input_tokens": 9 * (output == 1), "output_tokens": output}
                    usage["total_tokens"] = sum(usage.values())
                    reason = {"finish_reason": "length"} if output == 2 else {}
                    yield ChatGenerationChunk(
                        message=AIMessageChunk(
                            "token ", usage_metadata=usage, response_metadata=reason
                        )
                    )
            finally:
                self.closed.append(True)

    return CountingModel(responses=[])


@pytest.mark.anyio
async def test_what_langchain_counts_is_added_up(counting_model):
    names = recipe("langchain.md", "langchain_core")
    names["model"] = counting_model
    transcripts = []
    async with connect(
        names["EventStreamResponse"](names["answer"]("Hi"), on_complete=transcripts.append)
    ) as connection:
        kinds = [event.type async for event in connection]
    assert kinds == ["message", "message", "usage", "finish", "message"]
    assert transcripts[0].parts == (Usage(9, 3), Finish("length"))
    assert counting_model.closed == [True]


@pytest.mark.anyio
async def test_an_answer_of_an_agent_is_streamed_and_saved():
    names = recipe("pydantic-ai.md", "pydantic_ai")
    from pydantic_ai.models.test import TestModel

    with names["agent"].override(model=TestModel(custom_output_text="It rains.")):
        shown, kinds = await ask(names["app"])
        assert await ask_chat(names["chat_app"]) == "It rains."
    assert shown == "It rains.[DONE]"
    assert "tool_call" in kinds
    [(prompt, text, outcome, parts)] = names["saved"]
    assert (prompt, text, outcome) == ("Hi", "It rains.", Outcome.COMPLETED)
    assert [part.name for part in parts if isinstance(part, ToolCall)] == ["weather"]
