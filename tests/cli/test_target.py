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
        ("app", "'app' names no attribute: write module:attribute, as in app:answer"),
        ("app:", "'app:' names no attribute: write module:attribute, as in app:answer"),
        (":answer", "':answer' names no attribute: write module:attribute, as in app:answer"),
        ("", "'' names no attribute: write module:attribute, as in app:answer"),
        ("ap:answer", "no module 'ap' in {here} or on the Python path"),
        ("app.chat:answer", "no module 'app.chat' in {here} or on the Python path"),
        ("app.py:answer", "'app.py:answer' is a path: write module:attribute, as in app:answer"),
        ("app.py", "'app.py' is a path: write module:attribute, as in app:answer"),
        ("./app.py:two", "'./app.py:two' is a path: write module:attribute, as in app:two"),
        (
            "app/chat:answer",
            "'app/chat:answer' is a path: write module:attribute, as in app.chat:answer",
        ),
        ("app:an/swer", "'app:an/swer' is a path: write module:attribute, as in app:answer"),
        ("./:answer", "'./:answer' is a path: write module:attribute, as in app:answer"),
        (
            "/srv/app.py:answer",
            "'/srv/app.py:answer' is a path: in /srv, write module:attribute, as in app:answer",
        ),
        # nothing is imported before it is said
        (
            "raising.py:answer",
            "'raising.py:answer' is a path: write module:attribute, as in raising:answer",
        ),
        ("app:anwser", "'app:anwser' has no attribute 'anwser': did you mean 'answer'?"),
        ("app:Chat.nothing", "'app:Chat.nothing' has no attribute 'nothing'"),
        (
            "app:two",
            (
                "cannot serve app:two: it requires 'model', 'tokens', but can only be given "
                "'prompt' and 'request'"
            ),
        ),
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
            "importing 'syntax' failed at {here}/syntax.py:2: SyntaxError: invalid syntax",
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
    assert result.stderr.splitlines() == [
        "sse-asgi serve: app:stream is an ASGI app: it takes no --framing or --heartbeat"
    ]
