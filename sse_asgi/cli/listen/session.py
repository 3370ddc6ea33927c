"""One run of `listen`: receive, print, and tell how it ended."""

import json
from collections.abc import Callable
from enum import Enum
from typing import Any, TextIO

import anyio

from sse_asgi.cli.listen.terminal import Output, StatusLine
from sse_asgi.cli.listen.timing import Timing, status_line
from sse_asgi.client import EventSource
from sse_asgi.client.request import make_client
from sse_asgi.errors import IncompleteStreamError, SSEError, StreamLostError, StreamRefusedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, items_of

_REFRESH = 0.25


class Ending(Enum):
    """How a stream ended; the value is the exit status."""

    COMPLETE = 0
    CUT = 3
    REFUSED = 4


class Session:
    """Receive a stream to its end.

    Args:
        decode: What of an event is text.
        render: What of an event is printed, given the seconds since the start and its text.
        needs_end: Whether the stream must end with an end marker.
    """

    def __init__(
        self,
        decode: Decode,
        render: Callable[[MessageEvent, float, str], str],
        *,
        needs_end: bool,
    ) -> None:
        self.timing = Timing()
        self.ending = Ending.CUT
        self.reason = ""
        self.characters = 0
        self.interrupted = False
        self.unread = False
        self._decode = decode
        self._render = render
        self._needs_end = needs_end
        self._output = Output()
        self._status = StatusLine()

    async def run(self, signals: Callable[[anyio.CancelScope], Any], **request: Any) -> None:  # noqa: ANN401
        """Receive until the stream ends, or until a signal cancels the scope.

        Args:
            signals: A coroutine function that cancels the scope it is given.
            request: The options of `EventSource`.
        """
        self.interrupted = True  # until it ends by itself
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(signals, tasks.cancel_scope)
            tasks.start_soon(self._refresh)
            await self._receive(request)
            self.interrupted = False
            tasks.cancel_scope.cancel()

    def hide_status(self) -> None:
        """Show no status line."""
        self._status.enabled = False

    def close(self) -> None:
        """Stop the clock and leave the terminal as it was."""
        self.timing.note_end()
        self._output.finish()
        self._status.close()

    def begin_line(self, file: TextIO) -> None:
        """End the line that the text has left open, for what is printed to a file after it."""
        self._output.begin_line(file)

    async def _refresh(self) -> None:
        while self._status.enabled:
            self._status.show(status_line(self.timing))
            await anyio.sleep(_REFRESH)

    async def _receive(self, request: dict[str, Any]) -> None:
        client = make_client("AsyncClient")
        client.event_hooks = {"response": [self._note_response]}
        async with client, EventSource(client=client, **request) as source:
            self.timing.start()  # to import and to set up a client is not the server's time
            try:
                async for event in source:
                    if self._take(event):
                        return
            except BrokenPipeError:  # whoever read the output has read enough
                self.unread = True
            except (SSEError, ValueError) as error:  # a ValueError: the URL or a header
                self._end_by(error)
            else:
                self._end_cleanly()

    async def _note_response(self, response: Any) -> None:  # noqa: ANN401 - of either library
        if response.status_code == 200:
            self.timing.note_response()

    def _take(self, event: MessageEvent) -> bool:
        at = self.timing.note_event()
        try:
            items = items_of(self._decode(event))
        except IncompleteStreamError:
            self._output.write(self._render(event, at, ""))
            raise
        text = "".join(item for item in items if isinstance(item, str))
        self.characters += len(text)
        self._output.write(self._render(event, at, text))
        if None in items:
            self.ending = Ending.COMPLETE
        return None in items

    def _end_cleanly(self) -> None:
        if self._needs_end:
            self.reason = "the stream ended without an end marker"
        else:
            self.ending = Ending.COMPLETE

    def _end_by(self, error: Exception) -> None:
        self.reason = str(error)
        never_opened = not self.timing.connections
        if isinstance(error, StreamRefusedError):
            self.ending = Ending.REFUSED
            first_line = error.body.strip().partition("\n")[0][:300]
            self.reason += f"; it says: {first_line}" if first_line else ""
        elif never_opened and isinstance(error, StreamLostError | ValueError):
            self.ending = Ending.REFUSED


def render_text(_: MessageEvent, __: float, text: str) -> str:
    """Print the text alone."""
    return text


def render_event(event: MessageEvent, at: float, _: str) -> str:
    """Print an event for a person, one line for its head and its data below."""
    last_id = f" id={event.last_event_id}" if event.last_event_id else ""
    return f"{at:9.3f} {event.type}{last_id}\n{event.data}\n\n"


def render_json(event: MessageEvent, at: float, _: str) -> str:
    """Print an event as one line of JSON."""
    fields = {
        "at": round(at, 6),
        "type": event.type,
        "data": event.data,
        "last_event_id": event.last_event_id,
    }
    return f"{json.dumps(fields)}\n"
