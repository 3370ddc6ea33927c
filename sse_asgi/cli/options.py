"""What the commands share: options, their values, and what ends a command."""

import argparse
import math
from collections.abc import Callable
from importlib.util import find_spec
from typing import NoReturn, TypeAlias


class CommandError(Exception):
    """A command cannot go on, and says why in one line.

    The exit status is 2 for a wrong command line, 1 for a failure.
    """

    def __init__(self, message: str, *, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Print the line, without the usage, and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see --help\n")


# argparse has no public name for what `add_subparsers` returns.
Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
"""Where a command adds its own parser."""


def add_command(
    commands: Commands, name: str, run: Callable[[argparse.Namespace], int], about: str, more: str
) -> Parser:
    """Add a command: its name, what runs it, its line in the list, its description."""
    parser = commands.add_parser(
        name, help=about, description=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def add_address(parser: Parser) -> None:
    """Add `--host` and `--port`."""
    show = "(default: %(default)s)"
    parser.add_argument("--host", default="127.0.0.1", help=f"address to listen on {show}")
    parser.add_argument("--port", type=_port, default=8000, help=f"0 takes a free one {show}")


def seconds(text: str) -> float:
    """Read an option that is a number of seconds."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return value


def whole_number(text: str, most: int) -> int | None:
    """Read a number from 0 to `most`; None if the text is none."""
    number = int(text) if text.isascii() and text.isdigit() else -1
    return number if 0 <= number <= most else None


def require(*modules: str, extra: str = "demo") -> None:
    """Check that the modules of an extra are installed; a `CommandError` says how to."""
    if missing := [module for module in modules if not is_installed(module)]:
        raise CommandError(f'needs {", ".join(missing)}: pip install "sse-asgi[{extra}]"')


def is_installed(module: str) -> bool:
    """Tell whether a module can be imported."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def _port(text: str) -> int:
    if (number := whole_number(text, 65_535)) is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to 65535")
    return number
