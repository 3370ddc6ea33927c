"""What the decoders of all dialects share: reading objects, and putting tool calls together."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, TypeAlias, cast

from sse_asgi.errors import FramingError, IncompleteStreamError, StreamFailedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.failure import error_message, message_in
from sse_asgi.wire.json_text import read_object
from sse_asgi.wire.parts import Part, ToolCall, Usage

Item: TypeAlias = str | Part | None
Object: TypeAlias = dict[str, Any]


class DialectDecoder(ABC):
    """Reads one stream whose events hold JSON objects; it is the function `decoder()` returns.

    Objects of unknown kinds are skipped. If the first one is unknown, the server speaks another
    dialect, and a `FramingError` is raised.
    """

    dialect: ClassVar[str]
    """What errors call it."""

    def __init__(self) -> None:
        self._is_known = False  # an object of the dialect has come
        self._is_complete = False  # what makes an answer complete has come
        self._calls = PartialCalls()

    def __call__(self, event: MessageEvent) -> Item | tuple[Item, ...]:
        """Return what an event holds."""
        if event.type == "error":
            raise StreamFailedError(error_message(event.data), text="")
        if event.data == "[DONE]":
            self._check_complete()
            return None
        value = read_object(event.data)
        if value is None and event.type != "message":
            return ""
        if value is None or not (self._is_known or self._knows(value)):
            raise FramingError(
                f"an event's data is no object of {self.dialect}: the server speaks another "
                "dialect; give the client the same framing"
            )
        self._is_known = True
        if value.get("error"):
            raise failure(value)
        items = tuple(self._read(value))
        self._is_complete = self._is_complete or None in items
        return items[0] if len(items) == 1 else items or ""

    def _check_complete(self) -> None:
        if not self._is_complete:
            raise IncompleteStreamError(
                "the stream's end marker came before its answer was complete", text=""
            )

    @abstractmethod
    def _knows(self, value: Object) -> bool:
        """Tell whether an object is one of the dialect's."""

    @abstractmethod
    def _read(self, value: Object) -> Iterable[Item]:
        """Give what an object holds: "" or nothing at all if that is nothing of ours."""


class PartialCalls:
    """Puts tool calls together whose arguments come in pieces."""

    def __init__(self) -> None:
        self._calls: dict[str | int, _PartialCall] = {}

    def begin(self, key: str | int, name: str, id: str) -> list[ToolCall]:  # noqa: A002 - its name
        """Begin a call under a key; return the call that had this key before, now whole.

        A server may repeat name and id with each piece: that begins no other call.
        """
        open_call = self._calls.get(key)
        if open_call is not None and (not id or id == open_call.id):
            return []
        before = self.take(key)
        self._calls[key] = _PartialCall(name, id)
        return before

    def add(self, key: str | int, piece: str) -> None:
        """Note a piece of a call's arguments; one of an unknown call is let pass."""
        call = self._calls.get(key)
        if call is not None:
            call.pieces.append(piece)

    def take(self, key: str | int, *, arguments: str = "") -> list[ToolCall]:
        """Give a call that is whole; none if it is not known.

        Args:
            key: What its pieces are known by.
            arguments: The arguments, where no pieces of them have come.
        """
        call = self._calls.pop(key, None)
        if call is None:
            return []
        return [make_call(call.name, "".join(call.pieces) or arguments, call.id)]

    def take_all(self, *, may_be_cut: bool = False) -> list[ToolCall]:
        """Give all calls. Those that were cut are left out, if any may be."""
        calls: list[ToolCall] = []
        keys = list(self._calls)
        if may_be_cut and keys and not any(self._calls[keys[-1]].pieces):
            del self._calls[keys.pop()]  # its arguments were still to come
        for key in keys:
            try:
                calls += self.take(key)
            except FramingError:
                if not may_be_cut:
                    raise
        return calls


class _PartialCall:
    def __init__(self, name: str, id: str) -> None:  # noqa: A002 - the field's name
        self.name = name
        self.id = id
        self.pieces: list[str] = []


def make_call(name: str, arguments: str, id: str) -> ToolCall:  # noqa: A002 - the field's name
    """Return a tool call that a server sent.

    Raises:
        FramingError: It has no name, or its arguments are no JSON.
    """
    try:
        return ToolCall(name, arguments, id or None)
    except ValueError as error:
        raise FramingError(f"the server sent a tool call that is none: {error}") from error


def make_usage(value: Mapping[str, object], input_name: str, output_name: str) -> list[Usage]:
    """Give the usage that an object tells; none if it has neither number."""
    used, made = _count(value.get(input_name)), _count(value.get(output_name))
    return [] if used is None and made is None else [Usage(used, made)]


def failure(value: Object, fallback: str = "the server gave no reason") -> StreamFailedError:
    """Return the error that an object tells of."""
    return StreamFailedError(message_in(value) or fallback, text="")


def object_in(value: Object, name: str) -> Object:
    """Return the object in a field, an empty one if the field holds none."""
    found = value.get(name)
    return cast("Object", found) if isinstance(found, dict) else {}


def objects_in(value: Object, name: str) -> list[Object]:
    """Return the objects in a field's list."""
    found = value.get(name)
    items = cast("list[object]", found) if isinstance(found, list) else []
    return [cast("Object", item) for item in items if isinstance(item, dict)]


def key_in(value: Object, name: str) -> str | int:
    """Return the key in a field, a number or a name; 0 if the field holds neither."""
    found = value.get(name)
    return found if isinstance(found, str | int) else 0


def text_in(value: Object, *names: str) -> str:
    """Return the first text that is not empty in one of some fields, else ""."""
    found = (value.get(name) for name in names)
    return next((text for text in found if isinstance(text, str) and text), "")


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return cast("int", value) if is_count else None
