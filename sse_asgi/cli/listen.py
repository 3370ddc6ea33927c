"""`sse-asgi listen`: a stream's text as it comes, and how it came."""

import argparse
import json
import os
import signal
import sys
from typing import Any

import anyio

from sse_asgi.cli.framings import NAMES, make_decoder
from sse_asgi.cli.options import Commands, add_command, seconds
from sse_asgi.cli.request import add_request, import_client, request_of
from sse_asgi.cli.terminal import Output, StatusLine, printable
from sse_asgi.cli.timing import Timing, counted
from sse_asgi.errors import IncompleteStreamError, SSEError, StreamLostError, StreamRefusedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import items_of

_DESCRIPTION = """\
Connect to an event stream and print its text as it comes.

The summary goes to stderr. Exit status:
  0  the stream was complete: its end marker came (with --no-done: it ended cleanly);
     also after Ctrl-C
  3  it was cut: it ended, broke off or failed before its end marker
  4  it was refused: no connection, another status than 200, or no event stream
"""
_STATUS = {"complete": 0, "unread": 0, "interrupted": 0, "cut": 3, "refused": 4}
_REFRESH = 0.25
_WITHOUT_TEXT = 3
_HINT = "hint: these events carry no text that listen knows; --events or --json shows them"
"""Said after so many events without text, or at the end."""


def add_parser(commands: Commands) -> None:
    """Add the command and its options."""
    about = "print a stream as it comes, with its timing"
    parser = add_command(commands, "listen", run, about, _DESCRIPTION)
    add_request(parser)
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
    parser.add_argument("--last-event-id", default="", metavar="ID", help="begin after this event")
    silence = "silence that is a lost connection"
    parser.add_argument("--read-timeout", type=seconds, metavar="SECONDS", help=silence)
    parser.add_argument("-q", "--quiet", action="store_true", help="no status line, no summary")


def run(options: argparse.Namespace) -> int:
    """Receive the stream, and return how it ended."""
    library = import_client()
    listener = _Listener(options)
    try:
        anyio.run(listener.run, library)
    except KeyboardInterrupt:  # where signals cannot be received otherwise
        pass
    finally:
        listener.status.close()
    if listener.ending == "unread":  # so that Python does not complain at its exit either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    else:
        listener.summarise()
    return _STATUS[listener.ending]


class _Listener:
    def __init__(self, options: argparse.Namespace) -> None:
        self.ending = "interrupted"  # until it ends by itself
        self.status = StatusLine(enabled=not options.quiet)
        self._options = options
        self._decode = make_decoder(options.framing, done=options.done)
        self._output = Output()
        self._timing = Timing()
        self._reason = ""
        self._characters = self._without_text = 0

    async def run(self, library: Any) -> None:  # noqa: ANN401 - httpx or httpx2
        hooks = {"response": [self._note_response]}
        timeout = library.Timeout(10.0, read=None)
        async with (
            library.AsyncClient(timeout=timeout, event_hooks=hooks) as client,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(_stop_on_signal, tasks.cancel_scope)
            tasks.start_soon(self._refresh)
            ending = await self._receive(client)
            tasks.cancel_scope.cancel()
            self.ending = ending

    async def _receive(self, client: Any) -> str:  # noqa: ANN401 - of that library
        # An extra: the other commands need none.
        from sse_asgi.client import EventSource  # noqa: PLC0415

        names = ("url", "reconnect", "last_event_id", "read_timeout")
        request = {name: getattr(self._options, name) for name in names}
        request |= request_of(self._options)
        try:
            async with EventSource(client=client, **request) as source:
                self._timing.start()  # to set up a client is not the server's time
                async for event in source:
                    if self._take(event):
                        return "complete"
        except BrokenPipeError:  # whoever read the output has read enough
            return "unread"
        except (SSEError, ValueError) as error:  # a ValueError: the URL or a header
            return self._end_by(error)
        if self._options.done is None:
            return "complete"
        self._reason = "; the stream ended without an end marker"
        return "cut"

    def _take(self, event: MessageEvent) -> bool:
        """Print an event, and tell whether it was the last."""
        at = self._timing.note_event()
        text = ""
        try:
            items = items_of(self._decode(event))
            text = "".join(item for item in items if isinstance(item, str))
        finally:  # also an event that tells of a failure
            self._output.write(self._render(event, at, text))
        self._characters += len(text)
        if None in items:
            return True
        self._without_text += not text
        self._hint(after=_WITHOUT_TEXT)
        return False

    def _render(self, event: MessageEvent, at: float, text: str) -> str:
        if self._options.json:
            kind, last_id = event.type, event.last_event_id
            fields = {"at": round(at, 6), "type": kind, "data": event.data}
            return json.dumps({**fields, "last_event_id": last_id}) + "\n"
        if self._options.events:
            last_id = f" id={event.last_event_id}" if event.last_event_id else ""
            return printable(f"{at:9.3f} {event.type}{last_id}\n{event.data}\n\n")
        return text

    def _hint(self, *, after: int) -> None:
        shown = self._options.json or self._options.events or self._options.quiet
        if not shown and not self._characters and self._without_text == after:
            self._output.say(_HINT)

    def _end_by(self, error: Exception) -> str:
        self._reason = f"; {error}"
        self._without_text = 0  # that says enough
        if isinstance(error, StreamRefusedError):
            first_line = error.body.strip().partition("\n")[0][:300]
            self._reason += f"; it says: {first_line}" if first_line else ""
            return "refused"
        unopened = isinstance(error, StreamLostError | ValueError) and not self._timing.connections
        return "cut" if isinstance(error, IncompleteStreamError) or not unopened else "refused"

    async def _note_response(self, response: Any) -> None:  # noqa: ANN401
        if response.status_code == 200:
            self._timing.note_response()

    async def _refresh(self) -> None:
        while self.status.enabled:
            self.status.show(self._timing.status)
            await anyio.sleep(_REFRESH)

    def summarise(self) -> None:
        timing, quiet = self._timing, self._options.quiet
        timing.note_end()
        self._output.end_line()
        if quiet and self.ending == "complete":
            return
        for count in range(1, _WITHOUT_TEXT):
            self._hint(after=count)
        events, text = counted(timing.events, "event"), counted(self._characters, "character")
        head = f"{self.ending}: {events}, {text} of text{self._reason}"
        self._output.say(head, *(timing.summary if timing.connections and not quiet else ()))


async def _stop_on_signal(scope: anyio.CancelScope) -> None:
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                scope.cancel()
                return
    except NotImplementedError:  # on Windows Ctrl-C is a KeyboardInterrupt
        return
