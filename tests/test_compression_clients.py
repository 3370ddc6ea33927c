"""Real clients of compressed streams, on uvicorn: each has an event before the next is there."""

import json
import os
import subprocess
import sys

import httpx
import openai
import pytest

from tests.chat import node_clients
from tests.compressed import zstd
from tests.conftest import require
from tests.servers import ROOT, SERVERS, serve

pytestmark = pytest.mark.matrix

CHAT = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "Hi"}]}
VERSIONS = ("5", "6", "7")


@pytest.fixture(scope="module", params=["gzip", "zstd"])
def coding(request):
    if request.param == "zstd":
        zstd()
    return request.param


@pytest.fixture(scope="module")
def server(coding, tmp_path_factory):
    directory = tmp_path_factory.mktemp(coding)
    environment = {
        "SSE_TEST_COMPRESS": coding,
        "SSE_TEST_PAGES": str(directory),
        "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),  # where zstd may be
    }
    kind = SERVERS["uvicorn-httptools"]
    with serve(
        kind, directory=directory, app="tests.apps_compressed:app", environment=environment
    ) as running:
        yield running


def go_on(server):
    assert server.get("/go") is True


@pytest.mark.parametrize("path", ["/events", "/middleware"])
def test_httpx(server, coding, path):
    if coding == "zstd":
        require("zstandard")
    with httpx.stream("GET", server.url + path, headers={"accept-encoding": coding}) as answer:
        assert answer.headers["content-encoding"] == coding
        lines = answer.iter_lines()
        assert next(line for line in lines if "Hel" in line)
        go_on(server)
        assert "lo" in "".join(lines)


def test_openai(server, coding):
    if coding == "zstd":
        require("zstandard")
    headers = {"accept-encoding": coding}
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", default_headers=headers) as client:
        stream = client.chat.completions.create(**CHAT)
        assert stream.response.headers["content-encoding"] == coding
        texts = (chunk.choices[0].delta.content for chunk in stream)
        assert next(text for text in texts if text) == "Hel"
        go_on(server)
        assert "".join(text for text in texts if text) == "lo"


@pytest.mark.parametrize("path", ["/events", "/middleware"])
def test_event_source_and_fetch_in_chromium(server, coding, chromium, path):
    page = chromium.new_page()
    page.goto(f"{server.url}/ready")
    page.evaluate(
        """path => {
            window.texts = [];
            window.source = new EventSource(path);
            source.onmessage = (event) => texts.push(event.data);
        }""",
        path,
    )
    page.wait_for_function("texts.some(text => text.includes('Hel'))", timeout=10_000)
    go_on(server)
    page.wait_for_function("texts.at(-1) === '[DONE]'", timeout=10_000)
    assert "lo" in page.evaluate("source.close(), texts.join('')")
    page.evaluate(
        """path => fetch(path).then(async (answer) => {
            window.read = "";
            window.coding = answer.headers.get("content-encoding");
            const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
            for (let part; !(part = await reader.read()).done; ) window.read += part.value;
        }) && null""",
        path,
    )
    page.wait_for_function("window.read?.includes('Hel')", timeout=10_000)
    go_on(server)
    page.wait_for_function("window.read.includes('[DONE]')", timeout=10_000)
    assert page.evaluate("coding") == coding
    page.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_use_chat_in_chromium(server, chromium, version):
    node_clients.bundle(version, server.log_path.parent)
    page = chromium.new_page()
    page.goto(f"{server.url}/page?{version}")
    page.wait_for_function("window.seen")
    page.evaluate("() => { window.ask('Hi') }")
    shown = "seen.parts.filter(part => part.type === 'text').map(part => part.text).join('')"
    page.wait_for_function(f"{shown} === 'Hel'", timeout=20_000)
    go_on(server)
    page.wait_for_function(f"seen.finished && {shown} === 'Hello'", timeout=20_000)
    page.close()


def test_fetch_of_node(server, coding):
    if coding == "zstd":
        pytest.skip("Node's fetch takes zstd from version 23 on")
    node = require("node")
    script = """
        const answer = await fetch(process.argv[1] + "/events");
        const decoder = new TextDecoder();
        let text = "", told = false;
        for await (const part of answer.body) {
            text += decoder.decode(part, { stream: true });
            if (text.includes("Hel") && !told) {
                told = true;
                await fetch(process.argv[1] + "/go");
            }
        }
        console.log(JSON.stringify([answer.headers.get("content-encoding"), told, text]));
    """
    command = [node, "--input-type=module", "-e", script, server.url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    seen, told, text = json.loads(done.stdout)
    assert (seen, told) == (coding, True)
    assert text.endswith("data: [DONE]\n\n")
