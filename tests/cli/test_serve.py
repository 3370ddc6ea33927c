"""`sse-asgi serve` with modules as users write them, read as curl reads."""

import json
import time

import httpx
import pytest

from tests.cli import commands
from tests.servers import wait_for
from tests.together import together

pytestmark = pytest.mark.matrix

APP = """
import asyncio
import time

from sse_asgi import EventStream, ServerSentEvent


async def answer(prompt):
    for word in prompt.split():
        yield word + " "


async def slow():
    try:
        for number in range(1000):
            yield f"{time.monotonic()}"
            await asyncio.sleep(0.1)
    finally:
        await asyncio.sleep(0)
        print("cleaned up", flush=True)


def sync(request):
    yield request.method
    yield " "
    yield request.path


async def later(prompt="nobody"):
    await asyncio.sleep(0)
    return iter(["hello ", prompt])


class Chat:
    async def __call__(self, prompt, request):
        yield f"{prompt} {request.query_params['x']}"


class Words:
    def __aiter__(self):
        return self.iterate()

    async def iterate(self):
        yield "again"


async def once():
    yield "only once"


async def failing(prompt):
    yield "so far"
    raise RuntimeError("secret detail")


async def silent():
    yield "x"
    await asyncio.sleep(3600)


chat = Chat()
words = Words()
spent = once()
stream = EventStream(lambda request: ["from ", "an app"])


async def plain(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
"""


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("serve")
    (directory / "app.py").write_text(APP)
    return directory


def read_text(response):
    """The data of all events, as a reader of the wire sees it."""
    blocks = response.text.split("\n\n")
    assert blocks.pop() == ""
    assert blocks.pop() == "data: [DONE]"
    return "".join(block.removeprefix("data: ") for block in blocks)


@pytest.mark.parametrize(
    ("target", "method", "path", "text"),
    [
        ("app:answer", "GET", "/?prompt=one+two", "one two "),
        ("app:sync", "GET", "/some/path", "GET /some/path"),
        ("app:sync", "PUT", "/", "PUT /"),
        ("app:later", "GET", "/", "hello nobody"),
        ("app:later", "GET", "/?prompt=you", "hello you"),
        ("app:chat", "GET", "/?prompt=p&x=y", "p y"),
        ("app:words", "GET", "/", "again"),
        ("app:stream", "GET", "/", "from an app"),
    ],
)
@together("target", "method", "path", "text", at_once=4)
def test_serves_whatever_makes_strings(directory, target, method, path, text):
    with commands.serving("serve", target, directory=directory) as running:
        for _ in range(2):  # each request anew
            response = httpx.request(method, running.url + path)
            assert response.status_code == 200
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert read_text(response) == text
        assert running.noise() == []


def test_serves_a_prompt_in_a_json_body_and_says_what_is_missing(directory):
    with commands.serving("serve", "app:answer", directory=directory) as running:
        assert read_text(httpx.post(running.url, json={"prompt": "a b"})) == "a b "
        # `curl -d` sends JSON under the content type of forms
        form = {"content-type": "application/x-www-form-urlencoded"}
        body = json.dumps({"prompt": "c"})
        assert read_text(httpx.post(running.url, content=body, headers=form)) == "c "
        missing = httpx.get(running.url)
        assert missing.status_code == 400
        assert "?prompt=" in missing.text
        assert running.noise() == []


def test_chunks_arrive_as_they_are_made(directory):
    with (
        commands.serving("serve", "app:slow", directory=directory) as running,
        httpx.stream("GET", running.url) as response,
    ):
        lines = (line for line in response.iter_lines() if line)
        delays = [
            time.monotonic() - float(line.removeprefix("data: "))
            for line, _ in zip(lines, range(12), strict=False)
        ]
        # less than the pause before the next one, but for a few on a busy machine
        assert sorted(delays)[len(delays) // 2] < 0.09


def test_the_generator_is_closed_when_the_client_leaves(directory):
    with commands.serving("serve", "app:slow", directory=directory) as running:
        with httpx.stream("GET", running.url) as response:
            next(response.iter_lines())
        wait_for(lambda: "cleaned up" in running.log, what="the finally of the generator")
        assert running.noise() == []


def test_an_iterator_serves_one_request(directory):
    with commands.serving("serve", "app:spent", directory=directory) as running:
        assert read_text(httpx.get(running.url)) == "only once"
        assert httpx.get(running.url).status_code == 500
        assert "SourceSpentError" in running.log


def test_a_failure_is_told_without_details_and_logged_with_them(directory):
    with commands.serving("serve", "app:failing", directory=directory) as running:
        response = httpx.get(running.url, params={"prompt": "x"})
        assert response.text.startswith("data: so far\n\nevent: error\ndata: ")
        assert "secret" not in response.text
        wait_for(lambda: "RuntimeError: secret detail" in running.log, what="the traceback")


def test_framing_and_heartbeat_are_those_asked_for(directory):
    with (
        commands.serving(
            "serve", "app:silent", "--framing=json", "--heartbeat=0.05", directory=directory
        ) as running,
        httpx.stream("GET", running.url) as response,
    ):
        lines = response.iter_lines()
        assert [next(lines) for _ in range(4)] == ['data: "x"', "", ": keep-alive", ": keep-alive"]


def test_an_asgi_app_is_served_as_it_is(directory):
    with commands.serving("serve", "app:plain", directory=directory) as running:
        assert httpx.get(running.url).status_code == 204


def test_a_module_of_a_package_and_an_attribute_of_an_attribute(directory):
    package = directory / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "chat.py").write_text("class Bot:\n    @staticmethod\n    def say(): yield 'hi'\n")
    with commands.serving("serve", "package.chat:Bot.say", directory=directory) as running:
        assert read_text(httpx.get(running.url)) == "hi"
