"""`sse-asgi doctor`: why doesn't my stream stream?"""

import argparse
import os
import re
import sys

from sse_asgi.cli.doctor.examine import Examination
from sse_asgi.cli.doctor.exchange import Stop
from sse_asgi.cli.doctor.findings import SEVERITIES, TEXTS, diagnose
from sse_asgi.cli.doctor.report import as_json, as_text
from sse_asgi.cli.options import Commands, add_command, seconds
from sse_asgi.cli.request import add_request, import_client, request_of

_DESCRIPTION = """\
Connect to an event stream as a browser would, watch how it arrives, and say what is wrong with it:
each finding with its evidence and a remedy. Then connect again, to see what a reconnection gets.
A request that may have effects, a POST for instance, is sent once, unless --repeat is given.

A wait of a little more than 15, 30 or 60 s shows whether keep-alives come before the proxies on the
way cut silent connections. Exit status:
  0  nothing is wrong, or nothing as grave as --fail-on
  1  a finding as grave as --fail-on, or graver
  4  the server could not be reached
"""
_UNREACHABLE = 4
_INTERRUPTED = 130


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    about = "say why a stream does not stream"
    parser = add_command(commands, "doctor", run, about, _DESCRIPTION)
    add_request(parser)
    wait = "silence after which a stream counts as silent (default: 20)"
    parser.add_argument("--wait", type=seconds, default=20.0, metavar="SECONDS", help=wait)
    origin = "the page's origin, as in https://example.com, for CORS"
    parser.add_argument("--origin", type=_origin, metavar="ORIGIN", help=origin)
    parser.add_argument("--done", default="[DONE]", help="the end marker (default: %(default)s)")
    repeat = "also send a POST again, to compare"
    parser.add_argument("--repeat", action="store_true", help=repeat)
    fail = "the least severity that makes the exit status 1 (default: %(default)s)"
    parser.add_argument("--fail-on", choices=SEVERITIES, default="error", help=fail)
    ignore = "leave a finding out; may be repeated"
    parser.add_argument(
        "--ignore", choices=TEXTS, action="append", default=[], metavar="CODE", help=ignore
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(options: argparse.Namespace) -> int:
    """Examine the stream, print the report, and return how grave it is."""
    library = import_client()
    case = Examination(
        url=options.url,
        wait=options.wait,
        origin=options.origin,
        done=options.done,
        repeat=options.repeat,
        **request_of(options),
    )
    if not options.json and sys.stderr.isatty():
        print(f"watching {options.url}, for up to {2 * options.wait:.0f} s", file=sys.stderr)
    try:
        case.watch(library)
    except KeyboardInterrupt:
        print("interrupted before the examination was complete", file=sys.stderr)
        return _INTERRUPTED
    findings = diagnose(case, ignored=options.ignore)
    grave = SEVERITIES[: SEVERITIES.index(options.fail_on) + 1]
    failed = any(finding.severity in grave for finding in findings)
    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    if options.json:
        print(as_json(case.first, findings, healthy=not failed))
    else:
        print(as_text(case.first, findings, colour=colour))
    return _UNREACHABLE if case.first.stop is Stop.NO_CONNECTION else int(failed)


def _origin(text: str) -> str:
    if text == "null" or re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@\s]+", text):
        return text
    host = (text.partition("://")[2] or text).partition("/")[0]
    raise argparse.ArgumentTypeError(
        f"{text!r} is no origin: write scheme and host alone, as in https://{host}"
    )
