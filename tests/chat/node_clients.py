"""The official npm clients, of tests/clients, each asked once, and what each has understood."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import REQUIRE_ALL
from tests.servers import ROOT

FOLDER = ROOT / "tests" / "clients"
NODE = FOLDER / "node_modules" / "node" / "bin" / "node"

CLIENTS = {
    "openai (npm), `chat.completions.create({stream})`": "openai-chat",
    "openai (npm), `chat.completions.stream`": "openai-chat-helper",
    "openai (npm), `chat.completions.create`": "openai-chat-whole",
    "openai (npm), `responses.create({stream})`": "openai-responses",
    "openai (npm), `responses.stream`": "openai-responses-helper",
    "openai (npm), `responses.create`": "openai-responses-whole",
    "@anthropic-ai/sdk, `messages.create({stream})`": "anthropic",
    "@anthropic-ai/sdk, `messages.stream`": "anthropic-helper",
    "@anthropic-ai/sdk, `messages.create`": "anthropic-whole",
    "ai 5, `readUIMessageStream`": "ai5",
    "ai 6, `readUIMessageStream`": "ai6",
    "ai 7, `readUIMessageStream`": "ai7",
    "@ag-ui/client, `HttpAgent`": "ag-ui",
}
STREAMS = [name for name in CLIENTS if "create`" not in name]


def require_node():
    """Return Node's path; a missing one skips the test, or fails it where all are required."""
    if NODE.exists():
        return str(NODE)
    reason = "needs npm's clients, which are not installed: npm install --prefix tests/clients"
    if os.environ.get(REQUIRE_ALL) == "1":
        pytest.fail(f"{reason} ({REQUIRE_ALL}=1 forbids to skip)", pytrace=False)
    pytest.skip(reason)


def start(names, url, message, *, retries=0):
    """Start to ask as several clients do, all at once."""
    asks = [
        {"client": CLIENTS[name], "url": url, "message": message, "retries": retries}
        for name in names
    ]
    command = [require_node(), str(FOLDER / "ask.mjs"), json.dumps(asks)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process, names, *, within=60):
    """Return what each client has understood."""
    output, errors = process.communicate(timeout=within)
    assert process.returncode == 0, errors
    return dict(zip(names, json.loads(output), strict=True))


def ask_all(names, url, message, **options):
    """Ask as several clients do, all at once; return what each has understood."""
    return finish(start(names, url, message, **options), names)


def bundle(version, directory: Path):
    """Bundle the page with `useChat` of one major version."""
    require_node()
    target = directory / f"use-chat-{version}.js"
    esbuild = FOLDER / "node_modules" / ".bin" / "esbuild"
    command = [
        str(esbuild), str(FOLDER / "use_chat.jsx"), "--bundle",
        "--jsx=automatic", '--define:process.env.NODE_ENV="production"',
        f"--alias:use-chat=use-chat-{version}", f"--alias:ai=ai{version}",
        f"--outfile={target}", "--log-level=error",
    ]  # fmt: skip
    subprocess.run(command, check=True, cwd=FOLDER)
    return target


def versions():
    """Return the npm packages that were tested, with their versions."""
    require_node()
    names = json.loads((FOLDER / "package.json").read_text())["dependencies"]
    manifests = [FOLDER / "node_modules" / name / "package.json" for name in names]
    told = [json.loads(manifest.read_text()) for manifest in manifests]
    return [f"{each['name']} {each['version']} (npm)" for each in told]
