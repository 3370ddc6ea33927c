"""From `module:attribute` to an app: what is found, and what is said when it is not."""

import pytest

from tests.cli import commands
from tests.together import together

pytestmark = pytest.mark.matrix

APP = """
from sse_asgi import EventStream

def answer(prompt):
    yield prompt

def two(model, tokens):
    yield model

async def coroutine():
    return []

class Chat:
    number = 7

number = 7
text = "not a generator"
stream = EventStream(answer_ := (lambda request: ["x"]))
"""

BROKEN = {
    "raising.py": "import sys\n\nraise RuntimeError('no\\n  database')\n",
    "importing.py": "import a_module_that_is_missing\n",
    "names.py": "from json import no_such_name\n",
    "syntax.py": "x = 1\ndef f(:\n    pass\n",
    "exiting.py": "import sys\nsys.exit('bye')\n",
}


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("apps")
    (directory / "app.py").write_text(APP)
    for name, content in BROKEN.items():
        (directory / name).write_text(content)
    return directory


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
@together("target", "message", at_once=2)
def test_a_wrong_name_is_one_clear_line_and_exit_status_2(directory, target, message):
    result = commands.run("serve", target, directory=directory)
    assert result.stderr.splitlines() == [f"sse-asgi serve: {message.format(here=directory)}"]
    assert (result.returncode, result.stdout) == (2, "")


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
@together("target", "part", at_once=2)
def test_what_cannot_be_served_is_named_with_its_type(directory, target, part):
    result = commands.run("serve", target, directory=directory)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert part.format(here=directory) in result.stderr


@pytest.mark.parametrize("option", ["--framing=json", "--heartbeat=1"])
@together("option")
def test_an_asgi_app_takes_no_options_of_a_stream(directory, option):
    result = commands.run("serve", "app:stream", option, directory=directory)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.endswith(": an ASGI app takes no --framing, --heartbeat or --chat")
