"""The command line as a whole."""

import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest

from sse_asgi.cli import main
from tests.cli import commands


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
        (["serve", "app:answer", "--foo"], "sse-asgi: unrecognized arguments: --foo"),
        (["demo", "left", "over"], "sse-asgi: unrecognized arguments: left over"),
        (["--foo"], "sse-asgi: unrecognized arguments: --foo"),
        (
            ["demo", "--port=x\ny"],
            "sse-asgi demo: argument --port: 'x\\ny' is no number from 0 to 65535",
        ),
        (
            ["listen", "x", "-H", "y"],
            "sse-asgi listen: argument -H/--header: 'y' is no header: write 'NAME: VALUE' in ASCII",
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
    ("module", "extra", "arguments"),
    [
        ("uvicorn", "demo", ["demo"]),
        ("starlette", "demo", ["demo"]),
        ("httpx", "demo", ["demo"]),
        ("uvicorn", "demo", ["serve", "app:answer"]),
        ("httpx", "client", ["listen", "x"]),
        ("httpx", "client", ["doctor", "x"]),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(module, extra, arguments):
    result = without(module, *arguments)
    assert result.returncode == 2
    remedy = f'pip install "sse-asgi[{extra}]"'
    assert result.stderr.splitlines() == [f"sse-asgi {arguments[0]}: needs {module}: {remedy}"]


def test_the_extra_of_an_option_is_named():
    result = without("redis", "demo", "--redis", "redis://localhost")
    assert result.returncode == 2
    assert "sse-asgi[demo]" in result.stderr or "sse-asgi[redis]" in result.stderr


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
    assert f"{port!r} is no number from 0 to 65535" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_a_heartbeat_that_is_none_is_refused(seconds, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["serve", "app:answer", f"--heartbeat={seconds}"])
    assert stopped.value.code == 2
    assert f"{seconds!r} is no number of seconds" in capsys.readouterr().err
