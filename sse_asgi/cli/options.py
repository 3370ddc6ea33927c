"""The options of all commands, how their values are read, and what ends a command."""

import argparse
import json
import math
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn, TypeAlias

from sse_asgi.cli.findings import CODES, SEVERITIES
from sse_asgi.cli.framings import NAMES

_DEMO = """\
Serve a page on which an answer appears as it is made, beside what the server kept of it.

The answers come from a small n-gram model, or from any OpenAI-compatible endpoint:
  OPENAI_BASE_URL   its URL, such as http://localhost:11434/v1
  OPENAI_API_KEY    its key, if it wants one
  OPENAI_MODEL      the model, if it has more than one

An answer goes on when its page is reloaded. With --redis it can be followed, and stopped, in any
of several processes, and the page can kill one of them.
"""
_SERVE = """\
Serve a generator of strings as an event stream, at every path and for every method.

module:attribute names one of
  a generator function, async or sync, or any callable that returns an iterable.
      It gets what its parameters ask for: `prompt` the text of ?prompt=... or of a JSON body
      {"prompt": "..."}, `request` (or the only parameter, whatever its name) the request.
  an async iterable, which serves one request, or a list of strings.
  an ASGI app such as an EventStream, which is served as it is.
The current directory is importable.

With --chat a generator function is served to the clients of OpenAI (below /v1), Anthropic (/),
AI SDK (/ai-sdk) and AG-UI (/ag-ui): it gets the `Chat`, or the user's last text if its one
parameter is `prompt`.
"""
_LISTEN = """\
Connect to an event stream and print its text as it comes.

The summary goes to stderr. Exit status:
  0  the stream was complete: its end marker came (with --no-done: it ended cleanly);
     also after Ctrl-C
  3  it was cut: it ended, broke off or failed before its end marker
  4  it was refused: no connection, another status than 200, or no event stream
"""
_DOCTOR = """\
Connect to an event stream as a browser would, watch how it arrives, and say what is wrong with it:
each finding with its evidence and a remedy. A GET whose stream has events is sent once more, to see
what a reconnection gets; any other request is sent once.

A wait of a little more than 15, 30 or 60 s shows whether keep-alives come before the proxies on the
way cut silent connections. Exit status:
  0  nothing is wrong, or nothing as grave as --fail-on
  1  a finding as grave as --fail-on, or graver
  4  the server could not be reached
"""


class CommandError(Exception):
    """A command cannot begin, and says why in one line."""


class Parser(argparse.ArgumentParser):
    """A parser that says in one line what is wrong with a command line."""

    def error(self, message: str) -> NoReturn:
        """Print the line, without the usage, and exit with status 2."""
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see --help\n")


# argparse has no public name for what `add_subparsers` returns.
_Commands: TypeAlias = "argparse._SubParsersAction[Parser]"  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def make_parser() -> Parser:
    """Make the parser of the whole command line. It leaves the command's name in `command`."""
    about = "Turn any iterator of strings into an event stream."
    parser = Parser(prog="sse-asgi", description=about)
    try:
        number = version("sse-asgi")
    except PackageNotFoundError:  # run from a checkout
        number = "(not installed)"
    parser.add_argument("--version", action="version", version=f"sse-asgi {number}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    _add_demo(_add(commands, "demo", "serve a page that shows a stream from both ends", _DEMO))
    _add_serve(_add(commands, "serve", "serve a generator of yours as an event stream", _SERVE))
    _add_listen(_add(commands, "listen", "print a stream as it comes, with its timing", _LISTEN))
    _add_doctor(_add(commands, "doctor", "say why a stream does not stream", _DOCTOR))
    return parser


def _add(commands: _Commands, name: str, about: str, more: str) -> Parser:
    kept = argparse.RawDescriptionHelpFormatter
    return commands.add_parser(name, help=about, description=more, formatter_class=kept)


def _add_demo(parser: Parser) -> None:
    _add_address(parser)
    redis = "keep answers there, as in redis://localhost"
    parser.add_argument("--redis", metavar="URL", help=redis)
    workers = "processes that serve; more than one need --redis (default: %(default)s)"
    parser.add_argument("--workers", type=_number(1, 64), default=1, metavar="N", help=workers)


def _add_serve(parser: Parser) -> None:
    target = "what to serve, as in app:answer"
    parser.add_argument("target", metavar="module:attribute", help=target)
    _add_address(parser)
    framing = "how text becomes events (default: text)"
    parser.add_argument("--framing", choices=("text", "json"), help=framing)
    heartbeat = "silence before a keep-alive comment (default: 15)"
    parser.add_argument("--heartbeat", type=_seconds, metavar="SECONDS", help=heartbeat)
    chat = "serve it to the clients of OpenAI and others"
    parser.add_argument("--chat", action="store_true", help=chat)
    model = "with --chat: the model's name (default: any name will do)"
    parser.add_argument("--model", metavar="NAME", help=model)


def _add_listen(parser: Parser) -> None:
    _add_request(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--events", action="store_true", help="print events, not text")
    output.add_argument("--json", action="store_true", help="print events, a line of JSON each")
    framing = "what of an event is text (default: told by the first event)"
    parser.add_argument("--framing", choices=NAMES, default="auto", help=framing)
    marker = parser.add_mutually_exclusive_group()
    marker.add_argument("--done", default="[DONE]", help="the end marker (default: %(default)s)")
    none = "there is no end marker"
    marker.add_argument("--no-done", action="store_const", dest="done", const=None, help=none)
    parser.add_argument("--reconnect", action="store_true", help="go on after a lost connection")


def _add_doctor(parser: Parser) -> None:
    _add_request(parser)
    wait = "silence after which a stream counts as silent (default: 20)"
    parser.add_argument("--wait", type=_seconds, default=20.0, metavar="SECONDS", help=wait)
    parser.add_argument("--done", default="[DONE]", help="the end marker (default: %(default)s)")
    fail = "the least severity that makes the exit status 1 (default: %(default)s)"
    parser.add_argument("--fail-on", choices=SEVERITIES, default="error", help=fail)
    ignore = "leave a finding out; may be repeated"
    parser.add_argument(
        "--ignore", choices=CODES, action="append", default=[], metavar="CODE", help=ignore
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_address(parser: Parser) -> None:
    show = "(default: %(default)s)"
    parser.add_argument("--host", default="127.0.0.1", help=f"address to listen on {show}")
    port = f"0 takes a free one {show}"
    parser.add_argument("--port", type=_number(0, 65_535), default=8000, metavar="PORT", help=port)


def _add_request(parser: Parser) -> None:
    parser.add_argument("url", metavar="URL", type=_url, help="the stream's URL")
    method = "method (default: GET, with a body POST)"
    parser.add_argument("-X", "--method", type=str.upper, help=method)
    field = "a header field; may be repeated"
    parser.add_argument(
        "-H", "--header", metavar="'NAME: VALUE'", action="append", default=[], type=_header,
        dest="headers", help=field,
    )  # fmt: skip
    body = "a JSON body, which makes the request a POST; @FILE takes it from a file"
    parser.add_argument("--json-body", type=_json, metavar="JSON", help=body)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds greater than 0")
    return value


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 9 else -1
        if not least <= number <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no number from {least} to {most}")
        return number

    return read


def _url(text: str) -> str:
    return text if "://" in text else f"http://{text}"


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not (colon and name.strip() and text.isascii()):
        raise argparse.ArgumentTypeError(f"{text!r} is no header: write 'NAME: VALUE' in ASCII")
    return name.strip(), value.strip()


def _json(text: str) -> object:
    try:
        return json.loads(Path(text[1:]).read_bytes() if text.startswith("@") else text)
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text[1:]!r}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise argparse.ArgumentTypeError(f"the body is no JSON: {error}") from error
