"""From events to the whole text, and to the parts beside it."""

from copy import deepcopy

from sse_asgi.errors import IncompleteStreamError, StreamFailedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, Framing, Item, check_framing, has_end, items_of
from sse_asgi.wire.parts import Finish, Part, Usage


class TextCollector:
    """Put together the text of one stream, over any number of connections.

    Args:
        framing: How the stream's text travels.

    Attributes:
        has_end_marker: The stream is complete only when its end has come.
        started: An event has come.

    Raises:
        TypeError: It is no framing.
    """

    def __init__(self, framing: Framing) -> None:
        self._decode = check_framing(framing).decoder()
        self._items: list[str | Part] = []
        self._id = ""
        self._confirmed = 0  # items that the id covers
        self._decode_from_id: Decode | None = None  # as it was then; None: as it is now
        self.has_end_marker = has_end(framing)
        self.started = False

    @property
    def text(self) -> str:
        """The text so far."""
        return "".join(item for item in self._items if isinstance(item, str))

    @property
    def parts(self) -> tuple[Part, ...]:
        """The parts so far, in order."""
        return tuple(item for item in self._items if not isinstance(item, str))

    @property
    def usage(self) -> Usage | None:
        """The last usage that came."""
        usages = [part for part in self.parts if isinstance(part, Usage)]
        return usages[-1] if usages else None

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, as the last `Finish` has it."""
        return next(
            (part.reason for part in reversed(self.parts) if isinstance(part, Finish)), None
        )

    def add(self, event: MessageEvent) -> bool:
        """Take the next event, and tell whether it ends the stream.

        Raises:
            StreamFailedError: It tells of a failure.
            IncompleteStreamError: It ends the stream before what makes a stream complete has come.
            FramingError: It is not what the framing sends.
        """
        self.started = True
        is_confirmed = event.last_event_id != self._id
        if not is_confirmed and self._decode_from_id is None:
            self._decode_from_id = _copy(self._decode)
        for item in items_of(self._read(event)):
            if item is None:
                return True
            self._items.append(item)
        if is_confirmed:
            self.confirm(event.last_event_id)
        return False

    def confirm(self, last_event_id: str) -> None:
        """Note that an id came, and that it covers everything so far."""
        self._id = last_event_id
        self._confirmed = len(self._items)
        self._decode_from_id = None

    def rewind(self) -> None:
        """Forget the text and the parts that came after the last id.

        A server that resumes after that id sends them again.
        """
        del self._items[self._confirmed :]
        self._decode = self._decode_from_id or self._decode
        self._decode_from_id = None

    def incomplete(self, reason: str) -> IncompleteStreamError:
        """Return the error of a stream that has ended without its end marker."""
        text = self.text
        return IncompleteStreamError(
            f"{reason}; {len(text)} characters had come: they are the error's `text`", text=text
        )

    def _read(self, event: MessageEvent) -> Item | tuple[Item, ...]:
        try:
            return self._decode(event)
        except StreamFailedError as error:
            raise StreamFailedError(error.message, text=self.text) from error
        except IncompleteStreamError as error:
            raise self.incomplete(str(error)) from error


def _copy(decode: Decode) -> Decode:
    """Copy a decoder with its state. One that cannot be copied is taken to have none."""
    try:
        return deepcopy(decode)
    except Exception:  # noqa: BLE001 - whatever a user's class does
        return decode
