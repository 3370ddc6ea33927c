"""AI SDK's `useChat`, of three major versions, in Chromium, on a page beside a chat app."""

import signal

import pytest

from tests.chat import node_clients
from tests.chat.apps import SECRET, TEXTS
from tests.chat.test_clients import GENERIC, SHUTS_DOWN
from tests.report import wait_for
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

VERSIONS = ("5", "6", "7")
CLIENTS = {f"@ai-sdk/react, `useChat` of AI SDK {version}": version for version in VERSIONS}


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """Bundle the page for each version."""
    directory = tmp_path_factory.mktemp("pages")
    for version in VERSIONS:
        node_clients.bundle(version, directory)
    return directory


@pytest.fixture(scope="module")
def serve_chat(pages):
    """Return a function that serves the app and the pages."""

    def serve_(directory):
        return serve(
            SERVERS["uvicorn-httptools"],
            directory=directory,
            app="tests.chat.apps:app",
            environment={"SSE_TEST_PAGES": str(pages)},
        )

    return serve_


@pytest.fixture(scope="module")
def server(serve_chat, tmp_path_factory):
    with serve_chat(tmp_path_factory.mktemp("use-chat")) as running:
        yield running


class Page:
    """A page with `useChat`."""

    def __init__(self, chromium, server, client):
        self.context = chromium.new_context()
        self.page = self.context.new_page()
        self.page.goto(f"{server.url}/page?{CLIENTS[client]}")
        self.page.wait_for_function("window.seen")

    def ask(self, message):
        """Ask, and return what the page shows once the answer has ended."""
        self.send(message)
        return self.wait("seen.finished")

    def send(self, message):
        self.page.evaluate("message => { window.ask(message) }", message)

    def wait(self, condition):
        self.page.wait_for_function(condition, timeout=20_000)
        return self.page.evaluate("window.seen")


@pytest.fixture
def open_page(chromium, server):
    opened = []

    def open_(client, at=server):
        opened.append(Page(chromium, at, client))
        return opened[-1]

    yield open_
    for page in opened:
        page.context.close()


def parts_of(seen, kind):
    return [part for part in seen["parts"] if part["type"].startswith(kind)]


def text_of(seen):
    return "".join(part["text"] for part in parts_of(seen, "text"))


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("name", [name for name in TEXTS if name != "long"])
def test_the_text_is_equal_to_the_character(open_page, client, name):
    seen = open_page(client).ask(name)
    assert (seen["status"], seen["error"], seen["isError"]) == ("ready", None, False)
    assert text_of(seen) == TEXTS[name]


@pytest.mark.parametrize("client", CLIENTS)
def test_reasoning_tool_calls_and_usage_come_through(open_page, client):
    seen = open_page(client).ask("everything")
    assert "".join(part["text"] for part in parts_of(seen, "reasoning")) == "Think"
    [call] = parts_of(seen, "tool-weather")
    assert (call["toolCallId"], call["input"]) == ("call_1", {"city": "Århus"})
    assert seen["metadata"]["usage"] == {"inputTokens": 9, "outputTokens": 4, "totalTokens": 13}


@pytest.mark.parametrize("client", CLIENTS)
def test_an_empty_answer_is_one(open_page, client):
    seen = open_page(client).ask("empty")
    assert (seen["status"], text_of(seen)) == ("ready", "")


def assert_told(seen, told, record_property):
    """Check that the page shows our message as an error, and nothing of the inside."""
    assert (seen["status"], seen["error"], seen["isError"]) == ("error", told, True)
    assert SECRET not in str(seen)
    record_property("cell", "`onError`")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_generator_that_raises_is_an_error(open_page, client, record_property):
    assert_told(open_page(client).ask("raises"), GENERIC, record_property)


@pytest.mark.parametrize("client", CLIENTS)
def test_an_upstream_that_is_cut_is_an_error(open_page, client, record_property):
    assert_told(open_page(client).ask("upstream"), GENERIC, record_property)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_generator_that_takes_too_long_is_an_error(open_page, client, record_property):
    assert_told(open_page(client).ask("deadline"), GENERIC, record_property)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_server_that_is_told_to_stop_is_an_error(
    open_page, serve_chat, client, tmp_path, record_property
):
    with serve_chat(tmp_path) as running:
        page = open_page(client, running)
        page.send("SIGTERM")
        page.wait("seen.parts.some(part => part.text === 'Hel')")
        running.signal(signal.SIGTERM)
        assert_told(page.wait("seen.finished"), SHUTS_DOWN, record_property)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_refusal_shows_its_message(open_page, client):
    seen = open_page(client).ask("busy")
    assert (seen["status"], seen["error"]) == ("error", "Slow down.")
    assert text_of(open_page(client).ask("busy")) == "At last"


@pytest.mark.parametrize("client", CLIENTS)
def test_stop_stops_the_generator(open_page, server, client):
    since = len(server.report.notes("chat", "complete"))
    page = open_page(client)
    page.send("waits")
    page.wait("seen.parts.some(part => part.text === 'Hel')")
    page.page.evaluate("window.leave()")
    [note] = wait_for(lambda: server.report.notes("chat", "complete")[since:])
    assert (note["outcome"], note["text"]) == ("disconnected", "Hel")
    seen = page.wait("seen.finished")
    assert (seen["isAbort"], seen["status"]) == (True, "ready")
