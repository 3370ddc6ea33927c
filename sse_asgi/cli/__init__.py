"""The command line, `sse-asgi`: `options` declares it, and each command is a module with `run`."""

import os
import sys
from collections.abc import Sequence
from importlib import import_module

from sse_asgi.cli.options import CommandError, make_parser

_EXTRAS = {"demo": "demo", "serve": "demo", "listen": "client", "doctor": "client"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 is a clean end, also by Ctrl-C; 1 a failure; 2 a wrong command line, with one line on
    stderr that says what was wrong. The other statuses are those of the commands.

    Args:
        arguments: The words after the program's name; None takes them from the command line.
    """
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return 0
    try:
        # Only here: it may need an extra that is not installed.
        command = import_module(f"sse_asgi.cli.{options.command}")
        status: int = command.run(options)
        sys.stdout.flush()
    except BrokenPipeError:  # what reads the output has read enough
        # So that Python does not complain at its exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except CommandError as error:
        problem = str(error)
    except ImportError as error:
        missing = (error.name or "").partition(".")[0]
        remedy = f'needs {missing}: pip install "sse-asgi[{_EXTRAS[options.command]}]"'
        problem = remedy if missing else str(error)
    else:
        return status
    print(f"{parser.prog} {options.command}: {problem}", file=sys.stderr)
    return 2
