"""The demo's answers outlive its page: reloads, lost networks and second tabs, in a browser."""

from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from tests.cli import commands
from tests.demo.tab import Demo
from tests.live.network import Network
from tests.live.redis_server import RedisServer, free_port
from tests.servers import wait_for

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module", params=["memory", "redis"])
def demo(request, tmp_path_factory, hurried):
    """Serve the demo from one process, or from two that share a Redis."""
    directory = tmp_path_factory.mktemp("demo")
    environment, _ = hurried
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
def network(demo):
    with closing(Network(demo.port)) as network:
        yield network


@pytest.fixture
def open_page(open_in_chromium):
    return partial(open_in_chromium, Demo)


def test_a_reload_and_a_lost_network_lose_nothing(demo, open_page, network, hurry):
    first = open_page(demo.url)
    first.wait_for_chunks(10)
    second = open_page(first.page.url.replace(demo.url, network.url))
    second.wait_for_chunks(15)

    network.go_down()
    second.context.set_offline(True)
    wire = second.page.locator("#live-wire")
    wait_for(lambda: wire.get_attribute("data-link") == "cut", what="the cut")
    shown = second.text("elapsed")
    wait_for(lambda: second.text("elapsed") != shown, what="the figures to be shown anew")
    seen = second.chunks()
    before = first.answer.text_content()
    first.page.reload()
    first.wait_for_chunks(seen + 20)
    wait_for(lambda: first.answer.text_content().startswith(before), what="the text")
    assert second.chunks() == seen
    assert second.text("plain-state") == "gone"  # nobody can follow a plain response
    network.go_up()
    second.context.set_offline(False)
    second.wait_for_chunks(seen + 21)  # it goes on, and with what is made from now on
    hurry()

    for page in (first, second):
        assert page.wait_for_verdict() == "identical"
        assert page.text("browser-state") == page.text("server-state") == "completed"
    assert first.answer.text_content() == second.answer.text_content()
    assert first.chunks() == second.chunks() >= 400
    assert first.score("live") == second.score("live") == (0, 0)


@pytest.mark.parametrize("stopper", [0, 1], ids=["the first page", "the second page"])
def test_stop_works_from_either_page(demo, open_page, stopper):
    first = open_page(demo.url)
    first.wait_for_chunks(5)
    second = open_page(first.page.url)
    second.wait_for_chunks(8)
    pages = [first, second]
    pages[stopper].stop.click()
    for page in pages:
        assert page.wait_for_verdict() == "identical"
        assert page.text("browser-state") == page.text("server-state") == "stopped"
    assert first.answer.text_content() == second.answer.text_content()
    assert first.chunks() < 400


def test_a_page_opened_after_the_end_shows_the_same(demo, open_page):
    first = open_page(demo.url)
    first.wait_for_chunks(5)
    first.page.keyboard.press("Escape")
    first.wait_for_verdict()
    late = open_page(first.page.url)
    assert late.wait_for_verdict() == "identical"
    assert late.answer.text_content() == first.answer.text_content()
    assert late.text("browser-state") == "stopped"
    assert late.button("Stop").is_disabled()


def test_a_killed_worker_loses_nothing_and_is_started_again(tmp_path, open_page, hurried):
    environment, _ = hurried
    with RedisServer() as redis:
        arguments = ("demo", "--redis", redis.url, "--workers", "2")
        with commands.serving(*arguments, directory=tmp_path, environment=environment) as running:
            before = workers_of(running.process.pid)
            page = open_page(running.url)
            page.wait_for_chunks(10)
            page.button("Kill the worker").click()
            live, plain = page.wait_for_row("Killed worker")
            assert live[:2] == [0, 0]
            assert plain[1] > 10
            killed = next(row[0] for row in page.rows()).removeprefix("Killed worker ")
            assert killed in before
            wait_for(
                lambda: len(set(workers_of(running.process.pid)) - set(before)) == 1,
                what="another worker",
                within=30,
            )
            assert killed not in workers_of(running.process.pid)
            page.stop.click()
            assert page.wait_for_verdict() == "identical"
            assert page.score("live") == (0, 0)
            running.process.terminate()
            assert running.process.wait(30) == 0


def test_several_workers_need_a_redis(tmp_path):
    done = commands.run("demo", "--workers", "2", directory=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "--workers needs --redis" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        (("--workers", "0"), "'0' is no number from 1 to 64"),
        (("--workers", "x"), "'x' is no number from 1 to 64"),
        (("--redis", "localhost:6379"), "url must begin with redis://"),
    ],
)
def test_an_option_that_cannot_work_is_refused_with_its_remedy(tmp_path, arguments, remedy):
    done = commands.run("demo", *arguments, directory=tmp_path)
    assert done.returncode == 2
    assert remedy in done.stderr


def test_a_redis_that_is_away_is_told_and_told_to_stop_every_worker_ends(
    tmp_path, open_page, without_redis
):
    arguments = ("demo", "--redis", f"redis://127.0.0.1:{free_port()}", "--workers", "2")
    with commands.serving(*arguments, directory=tmp_path, environment=without_redis) as running:
        page = open_page(running.url)
        assert page.wait_for_verdict() == "failed"
        assert "Redis is out of reach" in page.status.text_content()
        workers = workers_of(running.process.pid)
        assert len(workers) == 2
        running.process.terminate()
        assert running.process.wait(30) == 0
    assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
    assert "Traceback" not in running.log


def workers_of(pid):
    """Return the processes that multiprocessing has spawned, without its resource tracker."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        each for each in children if b"spawn_main" in Path(f"/proc/{each}/cmdline").read_bytes()
    ]
