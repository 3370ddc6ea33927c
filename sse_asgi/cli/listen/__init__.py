"""`sse-asgi listen`: a stream's text as it comes, and how it came."""

import argparse
import os
import signal
import sys
from pathlib import Path

import anyio

from sse_asgi.cli.listen.framings import NAMES, make_decoder
from sse_asgi.cli.listen.plot import check_plot, draw
from sse_asgi.cli.listen.session import Ending, Session, render_event, render_json, render_text
from sse_asgi.cli.listen.timing import counted, summary
from sse_asgi.cli.options import Commands
from sse_asgi.cli.requesting import add_request, request_of, require_client, seconds

_DESCRIPTION = """\
Connect to an event stream and print its text as it comes.

The summary goes to stderr. Exit status:
  0  the stream was complete: its end marker came (with --no-done: it ended cleanly);
     also after Ctrl-C
  3  it was cut: it ended, broke off or failed before its end marker
  4  it was refused: no connection, another status than 200, or no event stream
"""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    parser = commands.add_parser(
        "listen",
        help="print a stream as it comes, with its timing",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_request(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--events", action="store_true", help="print events, not text")
    output.add_argument("--json", action="store_true", help="print events, a line of JSON each")
    parser.add_argument(
        "--framing",
        choices=NAMES,
        default="auto",
        help="what of an event is text (default: told by the first event)",
    )
    marker = parser.add_mutually_exclusive_group()
    marker.add_argument("--done", default="[DONE]", help="the end marker (default: %(default)s)")
    marker.add_argument(
        "--no-done", action="store_const", dest="done", const=None, help="there is no end marker"
    )
    _add_connection(parser)
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the arrival times")
    parser.add_argument("-q", "--quiet", action="store_true", help="no status line, no summary")
    parser.set_defaults(run=run)


def _add_connection(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--reconnect", action="store_true", help="go on after a lost connection")
    parser.add_argument("--last-event-id", default="", metavar="ID", help="begin after this event")
    parser.add_argument(
        "--read-timeout", type=seconds, metavar="SECONDS", help="silence that is a lost connection"
    )


def run(options: argparse.Namespace) -> int:
    """Receive the stream, and return how it ended."""
    require_client()
    if options.plot:
        check_plot(options.plot)
    session = _make_session(options)
    _receive(session, options)
    if session.unread:  # so that Python does not complain at its exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    if not options.quiet or session.ending is not Ending.COMPLETE:
        _summarise(session, quiet=options.quiet)
    if options.plot:
        draw(options.plot, list(session.timing.arrivals), title=options.url)
    return 0 if session.interrupted else session.ending.value


def _make_session(options: argparse.Namespace) -> Session:
    render = render_event if options.events else render_json if options.json else render_text
    session = Session(
        make_decoder(options.framing, done=options.done),
        render,
        needs_end=options.done is not None,
    )
    if options.quiet:
        session.hide_status()
    return session


def _receive(session: Session, options: argparse.Namespace) -> None:
    try:
        anyio.run(_run_session, session, options)
    except KeyboardInterrupt:  # where signals cannot be received otherwise
        session.interrupted = True
    finally:
        session.close()


async def _run_session(session: Session, options: argparse.Namespace) -> None:
    await session.run(
        _stop_on_signal,
        url=options.url,
        reconnect=options.reconnect,
        last_event_id=options.last_event_id,
        read_timeout=options.read_timeout,
        **request_of(options),
    )


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()
                return
    except NotImplementedError:  # on Windows Ctrl-C is a KeyboardInterrupt
        return


def _summarise(session: Session, *, quiet: bool) -> None:
    session.begin_line(sys.stderr)
    timing = session.timing
    ending = "interrupted" if session.interrupted else session.ending.name.lower()
    events, characters = counted(timing.events, "event"), counted(session.characters, "character")
    head = f"{ending}: {events}, {characters} of text"
    if session.reason and not session.interrupted:
        head += f"; {session.reason}"
    print(head, file=sys.stderr)
    if timing.connections and not quiet:
        print(*summary(timing), sep="\n", file=sys.stderr)
