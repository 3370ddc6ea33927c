"""`sse-asgi listen`: a stream's text as it comes, and how it came."""

import argparse
import io
import json
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import cast

import httpx

from sse_asgi.cli.framings import make_decoder
from sse_asgi.cli.options import CommandError
from sse_asgi.cli.terminal import counted, duration, printable
from sse_asgi.client import follow
from sse_asgi.errors import SSEError, StreamRefusedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import items_of

_STATUS = {"complete": 0, "interrupted": 0, "cut": 3, "refused": 4}
_WITHOUT_TEXT = 3
_HINT = "hint: these events carry no text that listen knows; --events or --json shows them"
"""Said after so many events without text, or at the end."""


def run(options: argparse.Namespace) -> int:
    """Receive the stream, and return how it ended."""
    # The encoding may be another than UTF-8.
    cast("io.TextIOWrapper", sys.stdout).reconfigure(errors="replace")
    with httpx.Client() as client:
        listener = _Listener(options)  # now: to set up a client is not the server's time
        client.event_hooks = {"response": [listener.note_response]}
        try:
            events = follow(
                options.url,
                method=options.method,
                headers=options.headers,
                json=options.json_body,
                client=client,
                reconnect=options.reconnect,
                read_timeout=None,  # a stream may be silent for long
            )
            ending, reason = listener.receive(events)
        except ValueError as error:  # the URL, or a header field
            raise CommandError(str(error)) from error
    listener.summarise(ending, reason)
    return _STATUS[ending]


class _Listener:
    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._decode = make_decoder(options.framing, done=options.done)
        self._timing = Timing()
        self._characters = 0
        self._without_text = 0
        self._is_in_line = False

    def note_response(self, response: httpx.Response) -> None:
        """Note when the first byte comes, and how many connections there are."""
        if response.status_code == 200:
            self._timing.note_response()

    def receive(self, events: Iterator[MessageEvent]) -> tuple[str, str]:
        """Print what comes; return how it ended, and why."""
        try:
            if any(self._take(event) for event in events):
                return "complete", ""
        except KeyboardInterrupt:
            return "interrupted", ""
        except StreamRefusedError as error:
            first_line = error.body.strip().partition("\n")[0][:300]
            return "refused", f"; {error}" + (f"; it says: {first_line}" if first_line else "")
        except SSEError as error:
            return "cut" if self._timing.connections else "refused", f"; {error}"
        if self._options.done is None:
            return "complete", ""
        return "cut", "; the stream ended without an end marker"

    def _take(self, event: MessageEvent) -> bool:
        """Print an event, and tell whether it was the last."""
        at = self._timing.note_event()
        text = ""
        try:
            items = items_of(self._decode(event))
            text = "".join(item for item in items if isinstance(item, str))
            self._characters += len(text)
        finally:  # also an event that tells of a failure
            self._write(self._render(event, at, text))
        if None in items:
            return True
        self._without_text += not text
        if self._without_text == _WITHOUT_TEXT:
            self._hint()
        return False

    def _render(self, event: MessageEvent, at: float, text: str) -> str:
        if self._options.json:
            kind, last_id = event.type, event.last_event_id
            fields = {"at": round(at, 6), "type": kind, "data": event.data}
            return json.dumps({**fields, "last_event_id": last_id}) + "\n"
        if self._options.events:
            last_id = f" id={event.last_event_id}" if event.last_event_id else ""
            return printable(f"{at:9.3f} {event.type}{last_id}\n{event.data}\n\n")
        return printable(text) if sys.stdout.isatty() else text

    def _write(self, text: str) -> None:
        print(text, end="", flush=True)
        self._is_in_line = not text.endswith("\n") if text else self._is_in_line

    def _hint(self) -> None:
        if not (self._characters or self._options.json or self._options.events):
            self._say(_HINT)

    def _say(self, line: str) -> None:
        """Write a line to stderr, not into a line of text, which a terminal shows there too."""
        start = "\n" if self._is_in_line else ""
        self._is_in_line = False
        print(f"{start}{printable(line)}", file=sys.stderr, flush=True)

    def summarise(self, ending: str, reason: str) -> None:
        """Say how the stream came."""
        events = counted(self._timing.events, "event")
        if not reason and 0 < self._without_text < _WITHOUT_TEXT:
            self._hint()
        self._say(f"{ending}: {events}, {counted(self._characters, 'character')} of text{reason}")
        for line in self._timing.summary if self._timing.connections else ():
            self._say(line)


class Timing:
    """When events came, in seconds since the start by a clock, and what the summary says of it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self.connections: int = 0
        self.events: int = 0
        self._response: float | None = None
        self._first: float | None = None
        self._arrivals: deque[float] = deque(maxlen=1_000_000)  # an endless stream has more

    def note_response(self) -> None:
        """Note that a response has come."""
        self.connections += 1
        self._response = self._now if self._response is None else self._response

    def note_event(self) -> float:
        """Note that an event has come, and return when."""
        now = self._now
        self._first = now if self._first is None else self._first
        self.events += 1
        self._arrivals.append(now)
        return now

    @property
    def summary(self) -> list[str]:
        """The lines that are printed at the end."""
        starts = f"first byte after {duration(self._response)}, first event after "
        lines = [f"{starts}{duration(self._first)}, end after {duration(self._now)}"]
        if gaps := sorted(later - earlier for earlier, later in pairwise(self._arrivals)):
            rate = len(gaps) / max(sum(gaps), 1e-9)
            ranks = {each: math.ceil(len(gaps) * each / 100) - 1 for each in (50, 90, 99)}
            shares = "".join(f"p{each} {duration(gaps[at])}, " for each, at in ranks.items())
            lines.append(f"{rate:.1f} events/s; gaps {shares}longest {duration(gaps[-1])}")
        return lines + [f"{self.connections} connections"] * (self.connections > 1)

    @property
    def _now(self) -> float:
        return self._clock() - self._start
