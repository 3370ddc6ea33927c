"""`sse-asgi serve --chat`: a generator, and the official clients that read it."""

import pytest

from tests.cli import commands
from tests.lazily import anthropic, openai

pytestmark = pytest.mark.matrix

APP = """
from sse_asgi import EventStream, Usage


async def generate(chat):
    yield f"{chat.model}: "
    yield chat.text
    yield Usage(9, 4)


def answer(prompt):
    yield prompt.upper()


def two(prompt, request):
    yield "x"


stream = EventStream(["an app"])
"""
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve_chat")
    (directory / "chatting.py").write_text(APP)
    return directory


def test_the_official_clients_read_a_generator(directory):
    with commands.serving("serve", "chatting:generate", "--chat", directory=directory) as running:
        with openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as client:
            completion = client.chat.completions.create(model="any", messages=HI)
            assert completion.choices[0].message.content == "any: Hi"
            assert completion.usage.total_tokens == 13
        with anthropic.Anthropic(base_url=running.url, api_key="x", max_retries=0) as client:
            thread = {"model": "any", "max_tokens": 9, "messages": HI}
            with client.messages.stream(**thread) as stream:
                assert stream.get_final_text() == "any: Hi"
        assert running.noise() == []


def test_a_function_of_a_prompt_gets_the_last_text_and_a_model_can_be_named(directory):
    arguments = ("serve", "chatting:answer", "--chat", "--model=mine", "--heartbeat=5")
    with (
        commands.serving(*arguments, directory=directory) as running,
        openai.OpenAI(base_url=f"{running.url}/v1", api_key="x", max_retries=0) as client,
    ):
        assert [model.id for model in client.models.list()] == ["mine"]
        completion = client.chat.completions.create(model="mine", messages=HI)
        assert completion.choices[0].message.content == "HI"
        with pytest.raises(openai.NotFoundError):
            client.chat.completions.create(model="other", messages=HI)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("chatting:stream", "--chat"), "an ASGI app takes no --framing, --heartbeat or --chat"),
        (("chatting:two", "--chat"), "cannot be called with one argument"),
        (("chatting:HI", "--chat"), "has no attribute 'HI'"),
        (("chatting:APP", "--chat"), "has no attribute"),
        (("chatting:generate", "--chat", "--framing=json"), "leave --framing out"),
        (("chatting:generate", "--model=mine"), "--model goes with --chat"),
    ],
)
def test_what_cannot_be_served_is_told_in_one_line(directory, arguments, says):
    done = commands.run("serve", *arguments, directory=directory)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
