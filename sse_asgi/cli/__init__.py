"""The command line, `sse-asgi`: one module for each command."""

import argparse
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from sse_asgi.cli import demo, doctor, listen, serve
from sse_asgi.cli.errors import CommandError

_COMMANDS = (demo, serve, listen, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is a clean end, also by Ctrl-C; 1 a failure; 2 a wrong command line, with one line on
    stderr that says what was wrong.

    Args:
        arguments: The words after the program's name; None takes them from the command line.
    """
    parser = _make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status: int = options.run(options)
    except CommandError as error:
        print(f"{parser.prog} {options.command}: {error}", file=sys.stderr)
        return error.status
    return status


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sse-asgi", description="Turn any iterator of strings into an event stream."
    )
    parser.add_argument("--version", action="version", version=f"sse-asgi {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser


def _version() -> str:
    try:
        return version("sse-asgi")
    except PackageNotFoundError:  # run from a checkout
        return "(not installed)"
