"""The pages about live: what they promise is tested, and their code does what they say."""

import re
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests import documents
from tests.documents import DOCS
from tests.live.network import Network
from tests.servers import SERVERS, serve, wait_for

pytestmark = pytest.mark.matrix

EXPLANATION = DOCS / "explanation" / "live.md"
TUTORIAL = DOCS / "tutorial" / "survive-a-reload.md"
TEXT = "".join(f"word {number}, " for number in range(1, 61)) + "the end."


def test_every_failure_on_the_page_names_tests_that_exist():
    code = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    rows = documents.tables_in(EXPLANATION)[0]
    named = [re.findall(r"`(test_\w+)`", row[2]) for row in rows]
    assert len(rows) > 20
    assert all(named)
    assert [name for names in named for name in names if f"def {name}(" not in code] == []


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """Serve the tutorial's app and page."""
    directory = tmp_path_factory.mktemp("tutorial")
    app, _ = documents.blocks_of(TUTORIAL, "python")
    (html,) = documents.blocks_of(TUTORIAL, "html")
    (directory / "app.py").write_text(app.text)
    (directory / "page.html").write_text(html.text)
    kind = SERVERS["uvicorn-httptools"]
    with serve(kind, directory=directory, app="app:app", ready=says_that_it_runs) as running:
        yield running


def says_that_it_runs(running):
    return f"running on {running.url} " in running.log


class Tab:
    """The tutorial's page in a tab with a network of its own."""

    def __init__(self, browser, url):
        self.context = browser.new_context()
        self.page = self.context.new_page()
        self.page.goto(url)

    @property
    def text(self):
        return self.page.locator("#answer").text_content()

    def wait_for(self, part):
        wait_for(lambda: part in self.text, within=30, what=part)

    def wait_for_end(self):
        self.page.wait_for_function("source?.readyState === EventSource.CLOSED", timeout=30_000)


@pytest.fixture
def network(tutorial):
    with closing(Network(tutorial.port)) as network:
        yield network


@pytest.fixture
def open_tab(open_in_chromium):
    return partial(open_in_chromium, Tab)


def test_a_reload_a_lost_network_and_a_second_tab_lose_nothing(tutorial, open_tab, network):
    first = open_tab(tutorial.url)
    first.page.click("#start")
    first.wait_for("word 5, ")
    second = open_tab(first.page.url.replace(tutorial.url, network.url))
    second.wait_for("word 10, ")
    network.go_down()
    second.context.set_offline(True)
    first.page.reload()
    first.wait_for("word 25, ")
    assert "word 24, " not in second.text  # it was cut
    network.go_up()
    second.context.set_offline(False)
    for tab in (first, second):
        tab.wait_for_end()
        assert tab.text == TEXT
    assert tutorial.log.count(f"saved: completed: {len(TEXT)} characters") == 1


def test_stop_in_one_tab_ends_both_with_the_same_text(tutorial, open_tab):
    first = open_tab(tutorial.url)
    first.page.click("#start")
    first.wait_for("word 5, ")
    second = open_tab(first.page.url)
    second.wait_for("word 8, ")
    second.page.click("#stop")
    first.wait_for_end()
    second.wait_for_end()
    assert first.text == second.text
    assert TEXT.startswith(first.text)
    said = f"saved: stopped: {len(first.text.encode())} characters"
    wait_for(lambda: said in tutorial.log, within=10, what=said)
