"""The command line, `sse-asgi`: one module for each command."""

import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version

from sse_asgi.cli import demo, doctor, listen, serve
from sse_asgi.cli.options import CommandError, Parser

_COMMANDS = (demo, serve, listen, doctor)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is a clean end, also by Ctrl-C; 1 a failure; 2 a wrong command line, with one line on
    stderr that says what was wrong.

    Args:
        arguments: The words after the program's name; None takes them from the command line.
    """
    parser = _make_parser()
    options, unknown = parser.parse_known_args(arguments)
    if unknown:  # argparse would not say of which command
        parser.prog = f"{parser.prog} {options.command or ''}".strip()
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if options.command is None:
        parser.print_help()
        return 0
    try:
        status: int = options.run(options)
    except CommandError as error:
        print(f"{parser.prog} {options.command}: {error}", file=sys.stderr)
        return error.status
    return status


def _make_parser() -> Parser:
    try:
        number = version("sse-asgi")
    except PackageNotFoundError:  # run from a checkout
        number = "(not installed)"
    about = "Turn any iterator of strings into an event stream."
    parser = Parser(prog="sse-asgi", description=about)
    parser.add_argument("--version", action="version", version=f"sse-asgi {number}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for command in _COMMANDS:
        command.add_parser(commands)
    return parser
