"""From `module:attribute` to an app: what is found, and what is said when it is not."""

import sys

import pytest

from sse_asgi.cli import main, server
from sse_asgi.testing import connect

APP = """
from sse_asgi import EventStream

def answer(prompt):
    yield prompt

def two(model, tokens):
    yield model

def chatting(chat):
    yield chat.text

async def coroutine():
    return []

class Chat:
    number = 7

number = 7
text = "not a generator"
stream = EventStream(lambda request: ["x"])
"""

BROKEN = {
    "raising.py": "import sys\n\nraise RuntimeError('no\\n  database')\n",
    "importing.py": "import a_module_that_is_missing\n",
    "names.py": "from json import no_such_name\n",
    "syntax.py": "x = 1\ndef f(:\n    pass\n",
    "exiting.py": "import sys\nsys.exit('bye')\n",
}


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """Work in a directory of modules, and forget them afterwards."""
    for name, content in {"app.py": APP, **BROKEN}.items():
        (tmp_path / name).write_text(content)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("target", "message"),
    [
        *(
            (name, f"{name!r} is not written as module:attribute, such as app:answer")
            for name in ("app", "app:", ":answer", "", "app.py:answer", "./app.py:two", "a:b/c")
        ),
        ("ap:answer", "no module 'ap' in {here} or on the Python path"),
        ("app.chat:answer", "no module 'app.chat' in {here} or on the Python path"),
        # nothing is imported before it is said
        ("raising.py:x", "'raising.py:x' is not written as module:attribute, such as app:answer"),
        ("app:anwser", "'app:anwser' has no attribute 'anwser': did you mean 'answer'?"),
        ("app:Chat.nothing", "'app:Chat.nothing' has no attribute 'nothing'"),
        (
            "raising:answer",
            "importing 'raising' failed at {here}/raising.py:3: RuntimeError: no database",
        ),
        (
            "importing:answer",
            (
                "importing 'importing' failed at {here}/importing.py:1: ModuleNotFoundError: "
                "No module named 'a_module_that_is_missing'"
            ),
        ),
        (
            "syntax:answer",
            "importing 'syntax' failed: SyntaxError: invalid syntax (syntax.py, line 2)",
        ),
        ("exiting:answer", "importing 'exiting' failed at {here}/exiting.py:2: SystemExit: bye"),
    ],
)
def test_a_wrong_name_is_one_clear_line_and_exit_status_2(directory, capsys, target, message):
    assert main(["serve", target]) == 2
    assert tuple(capsys.readouterr()) == ("", f"sse-asgi serve: {message.format(here=directory)}\n")


@pytest.mark.parametrize(
    ("target", "part"),
    [
        ("app:number", "cannot serve app:number: "),
        ("app:Chat.number", "int"),
        ("app:text", "cannot serve app:text: "),
        ("app:two", "cannot serve app:two: the source two cannot be called with one argument"),
        ("names:answer", "importing 'names' failed at {here}/names.py:1: ImportError: "),
    ],
)
def test_what_cannot_be_served_is_named_with_its_type(directory, capsys, target, part):
    assert main(["serve", target]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part.format(here=directory) in line


@pytest.mark.parametrize("option", ["--framing=json", "--heartbeat=1", "--chat"])
def test_an_asgi_app_takes_no_options_of_a_stream(directory, capsys, option):
    assert main(["serve", "app:stream", option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith(": an ASGI app takes no --framing, --heartbeat or --chat")


@pytest.fixture
def made(directory, monkeypatch):
    """Give the app that a command would serve."""
    apps = []
    monkeypatch.setattr(server.uvicorn, "run", lambda app, **_: apps.append(app))

    def make(*arguments):
        assert main(["serve", *arguments]) == 0
        return apps.pop()

    return make


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("arguments", "events"),
    [
        (["app:answer"], ["Q", "[DONE]"]),
        (["app:answer", "--framing=json", "--heartbeat=1"], ['"Q"', "[DONE]"]),
        (["app:stream"], ["x", "[DONE]"]),
    ],
)
async def test_what_is_named_is_served(made, arguments, events):
    async with connect(made(*arguments), "/?prompt=Q") as connection:
        assert [event.data async for event in connection] == events


@pytest.mark.anyio
@pytest.mark.parametrize("target", ["app:answer", "app:chatting"])
async def test_a_generator_is_served_to_chat_clients(made, target):
    body = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "stream": True}
    app = made(target, "--chat", "--model=m")
    async with connect(app, "/v1/chat/completions", method="POST", json=body) as connection:
        data = "".join([event.data async for event in connection])
    assert '"Hi"' in data
