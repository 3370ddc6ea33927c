"""`sse-asgi demo` up to the server: what it serves, and what it refuses."""

import json

import pytest

from sse_asgi.cli import demo, main, server
from sse_asgi.testing import connect


@pytest.fixture
def served(monkeypatch):
    """Give what uvicorn is told to serve."""
    told = {}
    monkeypatch.setattr(server.uvicorn, "run", lambda app, **how: told.update(app=app, **how))
    monkeypatch.setenv("SSE_ASGI_DEMO_REDIS", "")  # put back afterwards
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    return told


@pytest.mark.anyio
async def test_one_process_serves_an_app_that_no_page_kills(served):
    assert main(["demo"]) == 0
    assert (served["host"], served["port"], served["workers"]) == ("127.0.0.1", 8000, 1)
    async with connect(served["app"], "/source") as connection:
        assert json.loads(await connection.read())["killable"] is False


@pytest.mark.anyio
async def test_workers_make_the_app_themselves_and_may_be_killed(served, monkeypatch):
    pytest.importorskip("redis")
    assert main(["demo", "--redis", "redis://localhost", "--workers", "2"]) == 0
    assert (served["app"], served["factory"]) == ("sse_asgi.cli.demo:make_app", True)
    assert served["workers"] == 2
    monkeypatch.setattr(demo, "parent_process", object)
    async with connect(demo.make_app(), "/source") as connection:
        assert json.loads(await connection.read())["killable"] is True


@pytest.mark.parametrize(
    ("options", "environment", "says"),
    [
        (["--workers", "2"], "", "--workers needs --redis: the processes have nothing else"),
        (["--redis", "localhost:6379"], "", "url must begin with redis://"),
        ([], "localhost", "OPENAI_BASE_URL"),
    ],
)
def test_what_cannot_work_is_refused(served, monkeypatch, capsys, options, environment, says):
    monkeypatch.setenv("OPENAI_BASE_URL", environment)
    assert main(["demo", *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sse-asgi demo: ")
    assert says in line


def test_a_server_that_cannot_start_is_a_failure(served, monkeypatch):
    def fail(*_, **__):
        raise SystemExit(3)

    monkeypatch.setattr(server.uvicorn, "run", fail)
    assert main(["demo"]) == 1
