"""A real browser: the example of the how-to shows chunks as they come, and comes to an end."""

import pytest

from tests.report import wait_for
from tests.servers import SERVERS, serve

LISTEN = (
    "void listen('/answer', show).then(() => (ended = 'well'), (error) => (ended = error.message))"
)
ASK = (
    "(prompt) => { window.leave = new AbortController();"
    " ask('/answer', { prompt }, show, leave.signal)"
    ".then(() => (ended = 'well'), (error) => (ended = error.message)) }"
)


@pytest.fixture
def server(tmp_path):
    kind = SERVERS["uvicorn-httptools"]
    with serve(kind, directory=tmp_path, app="tests.apps_browser:app") as running:
        yield running


@pytest.fixture
def page(server, chromium):
    page = chromium.new_page()
    page.goto(server.url)
    page.wait_for_function("window.begun")
    yield page
    page.close()


def step(server, times=1):
    server.get(f"/step?times={times}")


def wait_until_shown(page, texts):
    page.wait_for_function(f"texts.length >= {len(texts)}", timeout=8_000)
    assert page.evaluate("texts") == texts


def outcomes(server):
    return server.get("/state")["outcomes"]


def test_event_source_gets_chunks_as_they_come_and_asks_no_more_at_the_end(server, page):
    page.evaluate(LISTEN)
    step(server)
    wait_until_shown(page, ["one"])
    step(server)
    wait_until_shown(page, ["one", "two\nlines"])
    assert page.evaluate("ended") is None
    step(server)
    page.wait_for_function("ended", timeout=8_000)
    assert page.evaluate("ended") == "well"
    page.wait_for_timeout(500)  # ten times the reconnection time that the server has set
    assert server.get("/state") == {"requests": ["GET"], "outcomes": ["completed"]}


@pytest.mark.matrix
def test_event_source_that_is_not_closed_would_ask_for_ever(server, page):
    """Show that the test above can fail."""
    page.evaluate("void (new EventSource('/answer').onmessage = (event) => show(event.data))")
    step(server, 9)
    wait_for(lambda: len(server.get("/state")["requests"]) >= 3, what="the browser asks again")


@pytest.mark.matrix
def test_post_is_read_by_fetch_as_it_comes(server, page):
    page.evaluate(ASK, "one two")
    step(server)
    wait_until_shown(page, ["one"])
    assert page.evaluate("ended") is None
    step(server)
    page.wait_for_function("ended", timeout=8_000)
    assert page.evaluate("[ended, texts]") == ["well", ["one", "two"]]
    assert server.get("/state") == {"requests": ["POST"], "outcomes": ["completed"]}


@pytest.mark.matrix
def test_post_that_is_aborted_reaches_the_source(server, page):
    page.evaluate(ASK, "one two")
    step(server)
    wait_until_shown(page, ["one"])
    page.evaluate("leave.abort()")
    wait_for(lambda: outcomes(server) == ["disconnected"], what="the source's end")


@pytest.mark.matrix
def test_page_that_is_closed_reaches_the_source(server, chromium):
    page = chromium.new_page()
    page.goto(server.url)
    page.wait_for_function("window.begun")
    page.evaluate(LISTEN)
    step(server)
    wait_until_shown(page, ["one"])
    page.close()
    wait_for(lambda: outcomes(server) == ["disconnected"], what="the source's end")


@pytest.mark.matrix
def test_failure_is_shown_and_the_browser_asks_no_more(server, page):
    page.evaluate(ASK, "one fail")
    step(server, 2)
    page.wait_for_function("ended", timeout=8_000)
    assert page.evaluate("[ended, texts]") == ["The stream failed on the server.", ["one"]]
    assert outcomes(server) == ["failed"]
