"""From events to the whole text."""

import json
from typing import Any, cast

from sse_asgi.errors import IncompleteStreamError, StreamFailedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, check_framing


class TextCollector:
    """Put together the text of one stream, over any number of connections.

    Args:
        framing: How the stream's text travels.

    Raises:
        TypeError: It is no framing.
    """

    def __init__(self, framing: Framing) -> None:
        self._decode = check_framing(framing).decoder()
        self._parts: list[str] = []
        self._id = ""
        self._confirmed = 0  # parts that the id covers
        self.has_end_marker = bool(framing.end())
        self.started = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(self._parts)

    def add(self, event: MessageEvent) -> bool:
        """Take the next event, and tell whether it ends the stream.

        Raises:
            StreamFailedError: It is of type "error".
            FramingError: Its data is not what the framing sends.
        """
        self.started = True
        if event.type == "error":
            raise StreamFailedError(error_message(event.data), text=self.text)
        text = self._decode(event)
        if text is None:
            return True
        self._parts.append(text)
        if event.last_event_id != self._id:
            self.confirm(event.last_event_id)
        return False

    def confirm(self, last_event_id: str) -> None:
        """Note that an id came, and that it covers all the text so far."""
        self._id = last_event_id
        self._confirmed = len(self._parts)

    def rewind(self) -> None:
        """Forget the text that a server which resumes after the last id gives again.

        That is the text of events without an id of their own, after that id came.
        """
        del self._parts[self._confirmed :]

    def incomplete(self, reason: str) -> IncompleteStreamError:
        """Return the error of a stream that has ended without its end marker."""
        text = self.text
        return IncompleteStreamError(
            f"{reason}; {len(text)} characters had come: they are the error's `text`", text=text
        )


def error_message(data: str) -> str:
    """Return what the data of an `error` event says to a person."""
    try:
        value: Any = json.loads(data)
    except (ValueError, RecursionError):
        return data
    for name in ("message", "error"):
        found = cast("dict[str, Any]", value).get(name) if isinstance(value, dict) else None
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get("message")
        if isinstance(found, str):
            return found
    return data
