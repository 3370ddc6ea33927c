"""What makes the demo's servers wait less than they do for people."""

import os
from pathlib import Path

import pytest

from tests.cli import commands
from tests.demo.tab import Demo
from tests.servers import ROOT

HURRIED = os.pathsep.join([str(ROOT), str(Path(__file__).parent / "hurried")])


@pytest.fixture(scope="module")
def hurried(tmp_path_factory):
    """Give the environment of a demo that `hurry` speeds up, and the file that does it."""
    file = tmp_path_factory.mktemp("hurry") / "now"
    environment = {"OPENAI_BASE_URL": "", "PYTHONPATH": HURRIED, "SSE_TEST_HURRY": str(file)}
    return environment, file


@pytest.fixture
def hurry(hurried):
    """Give a function that has the embedded model end its passages soon, until the test ends."""
    _, file = hurried
    yield file.touch
    file.unlink(missing_ok=True)


@pytest.fixture
def without_redis():
    """Give the environment of a demo that gives up a Redis which is away after a second."""
    return {"OPENAI_BASE_URL": "", "PYTHONPATH": HURRIED, "SSE_TEST_REDIS_TIMEOUT": "1"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory, hurried):
    environment, _ = hurried
    directory = tmp_path_factory.mktemp("demo")
    with commands.serving("demo", directory=directory, environment=environment) as running:
        yield running


@pytest.fixture
def open_demo(chromium):
    opened = []

    def open_(running, **options):
        opened.append(Demo(chromium, running.url, **options))
        return opened[-1]

    yield open_
    complaints = [complaint for each in opened for complaint in each.complaints]
    for each in opened:
        each.context.close()
    assert complaints == []
