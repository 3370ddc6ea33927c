"""Real servers and clients under OpenTelemetry's ASGI instrumentation."""

import httpx
import pytest

from tests.conftest import require
from tests.report import wait_for
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

APP = "tests.apps_telemetry:app"


@pytest.mark.parametrize("name", ["uvicorn-httptools", "hypercorn-asyncio"])
def test_a_server_tells_of_each_stream_as_it_ended(name, tmp_path):
    require("opentelemetry.instrumentation.asgi")
    with serve(SERVERS[name], directory=tmp_path, app=APP) as server:
        for path in ("/words", "/fails"):
            httpx.get(server.url + path)
        with httpx.stream("GET", server.url + "/stays") as answer:
            lines = answer.iter_lines()
            assert next(lines) == "data: a"
            assert server.get("/told")["active"] == [1]
        wait_for(lambda: len(server.get("/told")["spans"]) == 3, what="the last span has ended")
        told = server.get("/told")
        log = server.log
    assert sorted(told["spans"]) == [
        ["completed", "UNSET"],
        ["disconnected", "UNSET"],
        ["failed", "ERROR"],
    ]
    assert told["active"] == [0]
    assert told["outcomes"] == {"completed": 1, "failed": 1, "disconnected": 1}
    assert "different Context" not in log
