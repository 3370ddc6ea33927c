"""The tutorial "both sides have the complete response": its files, in real processes."""

import ast
import subprocess
import sys

import pytest

from tests import documents
from tests.documents import DOCS, EXAMPLES
from tests.servers import ROOT, SERVERS, serve, wait_for

pytestmark = pytest.mark.matrix

PAGE = DOCS / "tutorial" / "both-sides.md"
TEXT = "Hello, you! Both sides keep every word of this. "

NOTED = """

async def noted(request):
    async for word in answer(request):
        print("gave a word", flush=True)
        yield word


stream = EventStream(noted, on_complete=save)
"""


@pytest.fixture
def server(tmp_path):
    """Serve the page's app on uvicorn."""
    (tmp_path / "both_sides.py").write_text((EXAMPLES / "both_sides.py").read_text() + NOTED)

    def answers(running):
        return f"running on {running.url} " in running.log

    kind = SERVERS["uvicorn-httptools"]
    with serve(kind, directory=tmp_path, app="both_sides:stream", ready=answers) as running:
        yield running


def start(name, server):
    return subprocess.Popen(
        [sys.executable, EXAMPLES / name, f"{server.url}/?prompt=you"],
        env={"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_until_half_way(server):
    wait_for(lambda: server.log.count("gave a word") >= 3, within=20, what="the third word")


def said_by_server(server):
    """Wait for the server's line, and return the outcome and the text in it."""
    lines = wait_for(
        lambda: [line for line in server.log.splitlines() if line.startswith("server: ")],
        within=10,
    )
    (line,) = lines
    _, outcome, text = line.split(": ", 2)
    return outcome, ast.literal_eval(text)


def test_the_page_shows_the_files():
    shown = "".join(block.text for block in documents.blocks_of(PAGE))
    for name in ("both_sides.py", "both_sides_client.py", "both_sides_script.py"):
        assert (EXAMPLES / name).read_text() in shown


@pytest.mark.parametrize("name", ["both_sides_client.py", "both_sides_script.py"])
def test_both_sides_have_the_complete_text(server, name):
    with start(name, server) as client:
        output, errors = client.communicate(timeout=30)
    assert (output, errors) == (f"client: complete: {TEXT!r}\n", "")
    assert said_by_server(server) == ("completed", TEXT)


def test_the_server_has_the_part_that_a_client_left_with(server):
    with start("both_sides_client.py", server) as client:
        wait_until_half_way(server)
        client.kill()
    outcome, text = said_by_server(server)
    assert outcome == "disconnected"
    assert text
    assert TEXT.startswith(text)
    assert text != TEXT


def test_the_client_has_the_part_that_a_dead_server_left(server):
    with start("both_sides_client.py", server) as client:
        wait_until_half_way(server)
        server.process.kill()
        output, errors = client.communicate(timeout=30)
    assert errors == ""
    head, _, text = output.partition("client: incomplete: ")
    assert head == ""
    assert TEXT.startswith(ast.literal_eval(text))
