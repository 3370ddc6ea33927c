"""The command line as a whole."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from sse_asgi.cli import main
from tests.cli import commands

DEMO_EXTRA = 'pip install "sse-asgi[demo]"'


def test_without_a_command_prints_the_help(tmp_path):
    result = commands.run(directory=tmp_path)
    assert result.returncode == 0
    assert "demo" in result.stdout
    assert "serve" in result.stdout
    assert result.stderr == ""


@pytest.mark.matrix
def test_version_names_the_installed_version(tmp_path):
    try:
        expected = version("sse-asgi")
    except PackageNotFoundError:
        expected = "(not installed)"
    result = commands.run("--version", directory=tmp_path)
    assert (result.returncode, result.stdout) == (0, f"sse-asgi {expected}\n")


@pytest.mark.matrix
def test_an_unknown_command_has_exit_status_2(tmp_path):
    result = commands.run("demonstrate", directory=tmp_path)
    assert result.returncode == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        "sse-asgi: argument COMMAND: invalid choice: 'demonstrate' (choose from "
    )
    assert line.endswith("; see --help")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["serve"], "sse-asgi serve: the following arguments are required: module:attribute"),
        (["serve", "app:answer", "--foo"], "sse-asgi serve: unrecognized arguments: --foo"),
        (["demo", "left", "over"], "sse-asgi demo: unrecognized arguments: left over"),
        (["--foo"], "sse-asgi: unrecognized arguments: --foo"),
        (
            ["demo", "--port=x\ny"],
            "sse-asgi demo: argument --port: 'x\\ny' is no port: give a number from 0 to 65535",
        ),
        (
            ["doctor", "ftp://x"],
            "sse-asgi doctor: argument URL: 'ftp://x' is no URL of http or https",
        ),
    ],
)
def test_a_wrong_command_line_is_one_line_with_the_command(arguments, line, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert tuple(capsys.readouterr()) == ("", f"{line}; see --help\n")


def without(module, *arguments):
    """Run the command line in a process in which a module cannot be imported."""
    code = (
        f"import sys; sys.modules[{module!r}] = None; from sse_asgi.cli import main; "
        f"sys.exit(main({list(arguments)!r}))"
    )
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=commands.ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("uvicorn", ["demo"]),
        ("starlette", ["demo"]),
        ("httpx", ["demo"]),
        ("uvicorn", ["serve", "app:answer"]),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module, arguments):
    result = without(module, *arguments)
    assert result.returncode == 2
    assert result.stderr.splitlines() == [f"sse-asgi {arguments[0]}: needs {module}: {DEMO_EXTRA}"]


@pytest.mark.matrix
def test_the_help_needs_no_extra():
    result = without("uvicorn", "demo", "--help")
    assert result.returncode == 0
    assert "OPENAI_BASE_URL" in result.stdout


@pytest.mark.parametrize("port", ["65536", "-1", "http", "", "٨٠"])
def test_a_port_that_is_none_is_refused(port, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["demo", f"--port={port}"])
    assert stopped.value.code == 2
    assert f"{port!r} is no port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("origin", "remedy"),
    [
        ("app.example.com", "https://app.example.com"),
        ("app.example.com:81/page", "https://app.example.com:81"),
        ("https://app.example.com/", "https://app.example.com"),
    ],
)
def test_an_origin_that_is_none_is_refused(origin, remedy, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "http://127.0.0.1:1/", f"--origin={origin}"])
    assert stopped.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()[:1]
    assert f"{origin!r} is no origin: " in line
    assert f"as in {remedy};" in f"{line};"


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_heartbeat_that_is_none_is_refused(seconds, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "app:answer", f"--heartbeat={seconds}"])
    assert stopped.value.code == 2
    assert f"{seconds!r} is no number of seconds" in capsys.readouterr().err
