"""The demo's answers outlive its page: reloads, lost networks and second tabs, in a browser."""

import pytest

from tests.cli import commands
from tests.conftest import require
from tests.demo.test_page import Demo
from tests.live.redis_server import RedisServer
from tests.servers import wait_for


@pytest.fixture(scope="module")
def chromium():
    require("playwright")
    path = require("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=["memory", "redis"])
def demo(request, tmp_path_factory):
    """Serve the demo from one process, or from two that share a Redis."""
    directory = tmp_path_factory.mktemp("demo")
    environment = {"OPENAI_BASE_URL": ""}
    if request.param == "memory":
        with commands.serving("demo", directory=directory, environment=environment) as running:
            yield running
        return
    with (
        RedisServer() as redis,
        commands.serving(
            "demo", "--redis", redis.url, "--workers", "2",
            directory=directory, environment=environment,
        ) as running,
    ):  # fmt: skip
        yield running


@pytest.fixture
def open_page(chromium):
    opened = []

    def open_(url):
        opened.append(Demo(chromium, url))
        return opened[-1]

    yield open_
    for each in opened:
        each.context.close()


def test_a_reload_and_a_lost_network_lose_nothing(demo, open_page):
    first = open_page(demo.url)
    first.generate.click()
    first.wait_for_chunks(10)
    second = open_page(first.page.url)
    second.wait_for_chunks(15)

    second.context.set_offline(True)
    before = first.answer.text_content()
    first.page.reload()
    first.wait_for_chunks(60)
    assert first.answer.text_content().startswith(before)
    second.context.set_offline(False)

    for page in (first, second):
        assert page.wait_for_verdict() == "identical"
        assert page.text("browser-state") == page.text("server-state") == "completed"
    assert first.answer.text_content() == second.answer.text_content()
    assert first.chunks() == second.chunks() == int(first.text("server-chunks")) >= 160


@pytest.mark.parametrize("stopper", [0, 1], ids=["the first page", "the second page"])
def test_stop_works_from_either_page(demo, open_page, stopper):
    first = open_page(demo.url)
    first.generate.click()
    first.wait_for_chunks(5)
    second = open_page(first.page.url)
    second.wait_for_chunks(8)
    pages = [first, second]
    pages[stopper].stop.click()
    for page in pages:
        assert page.wait_for_verdict() == "identical"
        assert page.text("browser-state") == page.text("server-state") == "stopped"
    assert first.answer.text_content() == second.answer.text_content()
    assert first.chunks() < 160


def test_a_page_opened_after_the_end_shows_the_same(demo, open_page):
    first = open_page(demo.url)
    first.generate.click()
    first.wait_for_chunks(5)
    first.page.keyboard.press("Escape")
    first.wait_for_verdict()
    late = open_page(first.page.url)
    assert late.wait_for_verdict() == "identical"
    assert late.answer.text_content() == first.answer.text_content()
    assert late.text("browser-state") == "stopped"
    wait_for(late.generate.is_enabled, what="the button")
