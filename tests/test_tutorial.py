"""The tutorial's example, pasted into each host, streams token by token to real clients."""

import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conftest import require
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

EXAMPLE = Path(__file__).parent.parent / "docs" / "examples" / "first_stream.py"
TEXT = "Hello, browser! This text arrives word by word. "
TRIES = 3

HOSTS = {
    "bare": "",
    "starlette": """
from starlette.applications import Starlette
from starlette.routing import Mount

app = Starlette(routes=[Mount("/stream", app=stream)])
""",
    "fastapi": """
from fastapi import FastAPI

app = FastAPI()
app.mount("/stream", stream)
""",
}

LISTEN = """
async (url) => new Promise((resolve, reject) => {
  const source = new EventSource(url);
  const tokens = [];
  source.onmessage = (event) => {
    if (event.data === "[DONE]") {
      source.close();
      resolve(tokens);
    } else {
      tokens.push({ data: event.data, at: performance.now() / 1000 });
    }
  };
  source.onerror = () => reject(new Error("the EventSource failed"));
})
"""


@pytest.fixture(scope="module", params=HOSTS)
def url(request, tmp_path_factory):
    """Serve the example under uvicorn in one host; give the URL of its stream."""
    require("uvicorn")
    if HOSTS[request.param]:
        require(request.param)
    directory = tmp_path_factory.mktemp(f"tutorial-{request.param}")
    (directory / "pasted.py").write_text(EXAMPLE.read_text() + HOSTS[request.param])
    app = "pasted:app" if HOSTS[request.param] else "pasted:stream"
    kind = SERVERS["uvicorn-httptools"]
    with serve(kind, directory=directory, app=app, ready=says_that_it_runs) as running:
        yield f"{running.url}/stream/?prompt=browser"


def says_that_it_runs(running):
    return f"running on {running.url} " in running.log


def arrives_token_by_token(listen):
    """Check that the tokens come one after the other; a slow machine may look again."""
    for _ in range(TRIES):
        tokens = listen()
        assert "".join(data for data, _ in tokens) == TEXT
        assert len(tokens) == len(TEXT.split())
        pauses = [later - earlier for (_, earlier), (_, later) in pairwise(tokens)]
        if min(pauses) > 0.02:
            return
    pytest.fail(f"tokens came together: {tokens}")


def test_curl_shows_each_token_as_it_comes(url):
    curl = require("curl")

    def listen():
        tokens = []
        with subprocess.Popen(
            [curl, "--silent", "--show-error", "-N", url], stdout=subprocess.PIPE
        ) as process:
            for line in process.stdout:
                if line.startswith(b"data: "):
                    tokens.append((line.decode().removeprefix("data: ")[:-1], time.monotonic()))
        assert process.returncode == 0
        assert tokens.pop()[0] == "[DONE]"
        return tokens

    arrives_token_by_token(listen)


def test_event_source_of_a_browser_gets_each_token_as_it_comes(url, chromium):
    page = chromium.new_page()
    address = url.partition("/stream/")[0] + "/page"
    page.route(address, lambda route: route.fulfill(content_type="text/html", body="<p>page"))
    page.goto(address)

    def listen():
        return [(token["data"], token["at"]) for token in page.evaluate(LISTEN, url)]

    arrives_token_by_token(listen)
    page.close()
