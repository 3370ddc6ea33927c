"""`sse-asgi doctor`: why doesn't my stream stream?"""

import argparse
import re
import sys

import anyio

from sse_asgi.cli.doctor.examine import Settings, examine
from sse_asgi.cli.doctor.findings import diagnose, notes_on
from sse_asgi.cli.doctor.report import as_json, as_text
from sse_asgi.cli.options import Commands
from sse_asgi.cli.requesting import add_request, request_of, require_client, seconds

_DESCRIPTION = """\
Connect to an event stream as a browser would, watch how it arrives, and say what is wrong with it:
each finding with its evidence and a remedy. Then connect again, to see what a reconnection gets.

A wait of a little more than 15, 30 or 60 s shows whether keep-alives come before the proxies on the
way cut silent connections. Exit status: 0 for no finding, 1 for some.
"""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "doctor",
        help="say why a stream does not stream",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_request(parser)
    parser.add_argument(
        "--wait",
        type=seconds,
        default=20.0,
        metavar="SECONDS",
        help="silence after which a stream counts as silent (default: 20)",
    )
    parser.add_argument(
        "--origin",
        type=_origin,
        metavar="ORIGIN",
        help="the page's origin, as in https://example.com, for CORS",
    )
    parser.add_argument("--done", default="[DONE]", help="the end marker (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Examine the stream, print the report, and return 1 if there is any finding."""
    require_client()
    settings = Settings(
        url=options.url,
        wait=options.wait,
        origin=options.origin,
        done=options.done,
        **request_of(options),
    )
    if not options.json and sys.stderr.isatty():
        print(f"watching {options.url}, for up to {2 * options.wait:.0f} s", file=sys.stderr)
    try:
        examination = anyio.run(examine, settings)
    except KeyboardInterrupt:
        print("interrupted before the examination was complete", file=sys.stderr)
        return 1
    findings = diagnose(examination)
    write = as_json if options.json else as_text
    print(write(examination, findings, notes_on(examination)))
    return 1 if findings else 0


def _origin(text: str) -> str:
    if text == "null" or re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", text):
        return text
    host = (text.partition("://")[2] or text).partition("/")[0]
    raise argparse.ArgumentTypeError(
        f"{text!r} is no origin: write scheme and host alone, as in https://{host}"
    )
