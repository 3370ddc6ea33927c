"""The code in the documentation runs, and does what the page says."""

import asyncio
import inspect
import json
import re
import shlex
import time
import tomllib

import pytest

import sse_asgi
from sse_asgi.cli.options import make_parser
from sse_asgi.testing import collect_text, connect
from tests import documents
from tests.conftest import require
from tests.documents import DOCS, EXAMPLES, README, ROOT
from tests.servers import SERVERS, launch, serve
from tests.stream.peer import logged_errors

PAGES = documents.pages()
APART = ("error-monitors.md",)  # run in a process of its own, by test_monitors.py
WITH_CODE = [
    page for page in PAGES if documents.blocks_of(page, "python") and page.name not in APART
]
TESTS = [(page, name) for page in PAGES for name in documents.tests_in(page)]
LANGUAGES = {"python", "sh", "text", "html", "js", "jsx", "json", "nginx", "toml", "yaml"}
TUTORIAL = DOCS / "tutorial" / "first-stream.md"
HOW_TO = DOCS / "how-to"


@pytest.fixture(scope="module")
def anyio_backend():
    """Run the examples as their readers do, who write `asyncio.sleep`."""
    return "asyncio"


@pytest.fixture(autouse=True)
def examples_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(EXAMPLES)


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


async def receive_all(app, path="/", **request):
    async with connect(app, path, **request) as connection:
        return [event async for event in connection], connection


async def text_of(app, path="/", **request):
    events, _ = await receive_all(app, path, **request)
    return "".join(event.data for event in events[:-1])


async def body_of(app, path):
    async with connect(app, path) as connection:
        parts = []
        while part := await connection.read():
            parts.append(part)
    return b"".join(parts).decode()


# Blocks


def test_the_pages_with_code_are_found():
    assert {README, HOW_TO / "testing.md", TUTORIAL} <= set(WITH_CODE)


@pytest.mark.parametrize("page", PAGES, ids=documents.name_of)
def test_every_block_names_a_language_that_is_checked(page):
    languages = [block.language for block in documents.blocks_of(page)]
    assert set(languages) <= LANGUAGES
    assert page.read_text().count("```") == 2 * len(languages)


@pytest.mark.parametrize("page", WITH_CODE, ids=documents.name_of)
def test_the_code_of_a_page_runs(page):
    documents.run(page)


@pytest.mark.parametrize(("page", "name"), TESTS, ids=[name for _, name in TESTS])
def test_a_test_that_a_page_shows_passes(page, name):
    test = documents.run(page)[name]
    result = test()
    if inspect.isawaitable(result):
        asyncio.run(result)


@pytest.mark.parametrize("page", PAGES, ids=documents.name_of)
def test_the_commands_of_a_page_exist(page, project):
    for command in documents.commands_in(page):
        for part in command.split(" && "):
            check_command(shlex.split(part), project)


def check_command(words, project):
    if words[:2] == ["pip", "install"]:
        check_install(words[2:], project)
    elif words[0] == "sse-asgi":
        assert project["scripts"]["sse-asgi"] == "sse_asgi.cli:main"
        make_parser().parse_args(words[1:])
    elif words[0] == "pytest":
        assert any(name.startswith("pytest") for name in project["optional-dependencies"]["test"])
    elif words[0] in {"gunicorn", "hypercorn", "granian", "daphne"}:
        wanted = project["optional-dependencies"]["test"]
        assert any(name.startswith(words[0]) for name in wanted)
    elif words[0] == "uvicorn":
        assert any(name.startswith("uvicorn") for name in project["optional-dependencies"]["demo"])
    elif words[:2] == ["python", "-m"]:
        check_module(words[2], words[3:])
    elif words[:2] == ["npm", "install"]:
        if words[2] == "--prefix":
            assert (ROOT / words[3] / "package.json").exists()
        else:
            assert set(words[2:]) <= npm_packages()
    elif words[0] in {"ruff", "mypy", "pyright", "lint-imports"}:
        package = "import-linter" if words[0] == "lint-imports" else words[0]
        assert any(name.startswith(package) for name in project["optional-dependencies"]["lint"])
    elif words[0] == "npx":
        assert words[1] in npm_packages()
    elif words[0] == "bash":
        assert (ROOT / words[1]).exists()
    else:
        development = {"ruff", "mypy", "pyright", "lint-imports", "coverage", "zensical"}
        assert words[0] in {"curl", "nginx", "cat", "echo"} | development, words


def check_module(name, options):
    folder = documents.ROOT / name.replace(".", "/")
    module = folder / "__main__.py" if folder.is_dir() else folder.with_suffix(".py")
    source = module.read_text()
    for option in options:
        assert not option.startswith("--") or f'"{option}"' in source, option


def check_install(words, project):
    for requirement in words:
        extras = re.fullmatch(r"\.\[(.+)\]", requirement)
        if extras:
            assert set(extras[1].split(",")) <= set(project["optional-dependencies"])
        else:
            tested = " ".join(project["optional-dependencies"]["test"])
            assert requirement in {"-e", ".", *re.findall(r"(?:^| )([\w-]+)", tested)}


def npm_packages():
    """Return the npm packages that the tests install, by the names that they have there."""
    manifest = json.loads((ROOT / "tests" / "clients" / "package.json").read_text())
    versions = manifest["dependencies"].items()
    renamed = {of.removeprefix("npm:").rpartition("@")[0] for _, of in versions if ":" in of}
    return renamed | set(manifest["dependencies"])


# README


def test_the_readme_sets_everything_up_in_two_commands():
    section = README.read_text().partition("## Two commands")[2].partition("\n## ")[0]
    commands = re.findall(r"```sh\n(.+)\n```", section)
    assert commands == [
        'pip install -e ".[demo]" && sse-asgi demo',
        'pip install -e ".[test]" && pytest',
    ]


def test_the_readme_is_short():
    examples = documents.blocks_of(README, "python")
    assert len(README.read_text().splitlines()) <= 150
    assert len(examples) == 2
    assert all(len(example.text.splitlines()) <= 12 for example in examples)


@pytest.mark.anyio
async def test_the_example_of_the_readme_streams_and_saves(capsys):
    stream = documents.run(README)["stream"]
    assert await text_of(stream, "/?prompt=you") == "Hello, you!"
    assert capsys.readouterr().out.startswith("Transcript(text='Hello, you!', outcome=<Outcome.COM")


def test_the_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README.read_text())
    assert len(links) > 10
    assert [link for link in links if not (ROOT / link).exists()] == []


# Tutorial


@pytest.mark.parametrize("page", [DOCS / "index.md", TUTORIAL], ids=documents.name_of)
def test_the_first_example_is_the_one_that_is_tested_everywhere(page):
    first, *_ = documents.blocks_of(page, "python")
    assert first.text == (EXAMPLES / "first_stream.py").read_text()


@pytest.mark.anyio
async def test_the_apps_of_the_tutorial_stream():
    names = documents.run(TUTORIAL)
    texts = await asyncio.gather(
        text_of(names["stream"], "/?prompt=you"),
        text_of(names["app"], "/stream/?prompt=you"),
        text_of(names["api"], "/stream/?prompt=you"),
    )
    assert texts == ["Hello, you! This text arrives word by word. "] * 3


@pytest.mark.matrix
def test_the_page_of_the_tutorial_shows_the_text_and_ends(tmp_path):
    chromium = require("chromium")
    require("playwright")
    from playwright.sync_api import sync_playwright

    example, starlette, _ = documents.blocks_of(TUTORIAL, "python")
    (html,) = documents.blocks_of(TUTORIAL, "html")
    (tmp_path / "first_stream.py").write_text(example.text)
    (tmp_path / "app.py").write_text(starlette.text)
    (tmp_path / "page.html").write_text(html.text)
    kind = SERVERS["uvicorn-httptools"]
    with (
        serve(kind, directory=tmp_path, app="app:app", ready=says_that_it_runs) as server,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page()
        tab.goto(server.url)
        tab.wait_for_function("source.readyState === EventSource.CLOSED", timeout=20_000)
        assert tab.inner_text("#answer") == "Hello, browser! This text arrives word by word."
        browser.close()


def says_that_it_runs(running):
    return f"running on {running.url} " in running.log


# How to


@pytest.mark.anyio
async def test_saving_keeps_what_was_produced_when_the_client_leaves(capsys):
    names = documents.run(HOW_TO / "disconnects-and-saving.md")
    async with connect(names["app"]) as connection:
        assert (await anext(connection)).data == "one "
        await connection.disconnect()
    (transcript,) = names["saved"]
    assert transcript.outcome == "disconnected"
    assert transcript.text.startswith("one ")
    assert capsys.readouterr().out.startswith("partial: ")
    assert await text_of(names["app"]) == "one two three "
    assert names["saved"][1].outcome == "completed"
    assert await text_of(names["stream"]) == "a row "


@pytest.mark.anyio
async def test_errors_are_told_as_the_page_says(caplog):
    names = documents.run(HOW_TO / "errors.md")
    events, connection = await receive_all(names["stream"])
    assert [(event.type, event.data) for event in events] == [
        ("message", "Once upon a time "),
        ("error", '{"message": "Your quota is used up."}'),
    ]
    assert connection.error is None
    (error,) = logged_errors(caplog.records)
    assert isinstance(error, names["QuotaExceededError"])
    async with connect(names["app"], "/answer/") as refused:
        assert refused.status == 429
    async with connect(names["app"], "/answer") as redirected:
        assert redirected.status == 307


@pytest.mark.anyio
async def test_a_page_of_another_origin_may_read_and_a_preflight_starts_nothing():
    app = documents.run(HOW_TO / "cors.md")["app"]
    origin = {"origin": "https://app.example.com"}
    asks = {
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type",
    }
    async with connect(app, "/answer", method="OPTIONS", headers=origin | asks) as preflight:
        assert preflight.status == 200
        assert preflight.headers["access-control-allow-origin"] == origin["origin"]
        assert "POST" in preflight.headers["access-control-allow-methods"]
        assert await preflight.read() == b"OK"
    body = {"prompt": "a"}
    events, answer = await receive_all(app, "/answer", method="POST", headers=origin, json=body)
    assert [event.data for event in events] == ["a", "Hello", "[DONE]"]
    assert answer.headers["access-control-allow-origin"] == origin["origin"]
    async with connect(app, "/answer", method="OPTIONS") as refused:
        assert refused.status == 405
        assert "POST" in refused.headers["allow"]


@pytest.mark.anyio
async def test_what_has_moved_sends_what_it_sent_before_and_frames_are_framed_twice():
    page = HOW_TO / "migrate.md"
    names = documents.run(page)
    assert await body_of(names["app"], "/after") == await body_of(names["app"], "/before")
    (shown,) = documents.blocks_of(page, "text")
    assert (await body_of(names["app"], "/wrong")).startswith(shown.text)
    for app in (names["moved"], names["api"]):
        assert await body_of(app, "/after") == await body_of(app, "/before")


@pytest.mark.anyio
async def test_each_endpoint_is_read_by_the_framing_of_its_middleware(capsys, caplog):
    names = documents.run(HOW_TO / "existing-endpoints.md")
    for path in ("/text", "/json"):
        await body_of(names["both"], f"{path}?prompt=a+b")
        assert capsys.readouterr().out == "completed a b \n"
    json_alone = names["Starlette"](routes=[names["Route"]("/", names["json_endpoint"])])
    wrong = names["EventStreamMiddleware"](json_alone, on_complete=names["save"])
    assert await body_of(wrong, "/?prompt=a") == 'data: "a "\n\ndata: [DONE]\n\n'
    assert capsys.readouterr().out == 'completed "a "\n'
    wrong = names["EventStreamMiddleware"](
        names["Starlette"](routes=[names["Route"]("/", names["endpoint"])]),
        on_complete=names["save"],
        framing=sse_asgi.JSONFraming(),
    )
    assert await body_of(wrong, "/?prompt=a") == "data: a \n\ndata: [DONE]\n\n"
    assert capsys.readouterr().out == "completed \n"
    assert "not transcribed further: FramingError" in caplog.text


@pytest.mark.anyio
async def test_a_repeated_question_follows_the_answer_that_exists():
    names = documents.run(HOW_TO / "start-and-follow.md")
    app, question = names["app"], {"method": "POST", "json": {"prompt": "a b c"}}
    async with connect(app, "/answers/1", **question) as first:
        seen = [await anext(first) for _ in range(2)]
    headers = {"last-event-id": seen[-1].last_event_id}
    rest, _ = await receive_all(app, "/answers/1", headers=headers, **question)
    assert [event.data for event in [*seen, *rest]] == ["a ", "b ", "c ", "[DONE]"]
    assert await names["words"]("1") == ["a ", "b ", "c ", "[DONE]"]
    events, _ = await receive_all(app, "/live/1")
    assert [event.data for event in events] == ["a ", "b ", "c ", "[DONE]"]
    await names["live"].aclose()


def test_the_client_of_a_chat_gets_the_whole_answer(tmp_path):
    require("starlette")
    page = HOW_TO / "start-and-follow.md"
    server_side, client_side, _ = documents.blocks_of(page, "python")
    (tmp_path / "chat.py").write_text(server_side.text)
    names = {}
    exec(client_side.code(), names)
    kind = SERVERS["uvicorn-httptools"]
    with serve(kind, directory=tmp_path, app="chat:app", ready=says_that_it_runs) as server:
        assert asyncio.run(names["chat"](server.url, "a b c")) == "a b c "


@pytest.mark.anyio
async def test_sync_sources_stream():
    names = documents.run(HOW_TO / "sync-sources.md")
    assert await text_of(names["stream"]) == "one two three "
    assert await text_of(names["stream_of_rows"]) == "a b "
    assert await text_of(names["stream_of_pages"]) == "page 0 page 1 page 2 "


@pytest.mark.anyio
async def test_the_custom_framing_carries_any_text_both_ways():
    names = documents.run(HOW_TO / "custom-framing.md")
    framing = names["TokenFraming"](version=1)
    prompt = 'a [DONE] "\\ \u00e9\U0001f642 \0'
    request = {"method": "POST", "json": {"prompt": prompt}}
    events, connection = await receive_all(names["stream"], **request)
    assert connection.headers["x-token-stream"] == "yes"
    assert [event.type for event in events] == ["hello", *["token"] * 5, "done"]
    assert [json.loads(event.data).get("number") for event in events[1:-1]] == [1, 2, 3, 4, 5]
    decode = framing.decoder()
    assert decode(events[-1]) == (sse_asgi.Finish("length"), None)
    async with connect(names["stream"], **request) as connection:
        assert await collect_text(connection, framing) == prompt + " "
    with pytest.raises(sse_asgi.FramingError):
        decode(sse_asgi.MessageEvent("[1]", "token"))
    events, _ = await receive_all(names["stream_with_progress"])
    assert [event.type for event in events] == ["progress", "message", "message"]


@pytest.mark.anyio
async def test_the_custom_framing_tells_of_failures_and_stops():
    names = documents.run(HOW_TO / "custom-framing.md")
    framing = names["TokenFraming"](version=1)

    def fails(request):
        yield "a"
        raise LookupError

    async with connect(sse_asgi.EventStream(fails, framing=framing)) as connection:
        with pytest.raises(sse_asgi.StreamFailedError, match="failed on the server") as caught:
            await collect_text(connection, framing)
    assert caught.value.text == "a"
    (stopped,) = sse_asgi.EventStreamDecoder().feed(framing.encoder().end(sse_asgi.Outcome.STOPPED))
    assert json.loads(stopped.data) == {"reason": "cancelled"}


@pytest.mark.anyio
async def test_deadlines_hold_as_the_page_says():
    names = documents.run(HOW_TO / "deadlines-and-keepalives.md")
    shown = documents.blocks_of(HOW_TO / "deadlines-and-keepalives.md", "python")[0].text
    given = dict(re.findall(r"^    (\w+)=([\d.]+),", shown, re.MULTILINE))
    defaults = inspect.signature(sse_asgi.EventStream).parameters
    assert {name: defaults[name].default for name in given} == {
        name: float(value) for name, value in given.items()
    }
    assert set(given) == {"heartbeat", "send_timeout", "cleanup_timeout"}
    assert await text_of(names["stream"]) == "Hello"
    assert await text_of(names["limited_stream"]) == "one two "


@pytest.mark.matrix
def test_nginx_as_configured_on_the_page_passes_events_at_once(tmp_path):
    nginx = require("nginx")
    (block,) = documents.blocks_of(HOW_TO / "proxies.md", "nginx")
    (tmp_path / "pasted.py").write_text((EXAMPLES / "first_stream.py").read_text())
    kind = SERVERS["uvicorn-h11"]
    with serve(kind, directory=tmp_path, app="pasted:stream", ready=says_that_it_runs) as server:
        location = block.text.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
        proxy = launch(
            lambda port: nginx_command(nginx, tmp_path, location, port),
            directory=tmp_path,
            name="nginx",
            ready=accepts_connections,
        )
        try:
            with proxy.open("/stream/?prompt=you") as client:
                started = time.monotonic()
                client.read_until(b"data: Hello, ", within=10)
                first = time.monotonic() - started
                client.read_until(b"data: [DONE]", within=10)
                rest = time.monotonic() - started - first
        finally:
            proxy.stop()
    assert rest > 0.3, "the events came together"


def accepts_connections(running):
    with running.connect():
        return True


def nginx_command(nginx, directory, location, port):
    name = directory / f"nginx-{port}.conf"
    temporary = "".join(
        f"{kind}_temp_path {directory};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    name.write_text(f"""
        daemon off; master_process off; pid {directory}/nginx.pid; error_log stderr;
        events {{}}
        http {{ access_log off; {temporary} server {{ listen 127.0.0.1:{port}; {location} }} }}
    """)
    return [nginx, "-e", "stderr", "-p", str(directory), "-c", str(name)]
