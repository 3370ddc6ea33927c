"""What of an event is text: the framings of sse_asgi, and the streams of well-known servers."""

import json
from collections.abc import Callable
from typing import Any, TypeAlias, cast

from sse_asgi.errors import StreamFailedError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import JSONFraming, TextFraming

Decode: TypeAlias = Callable[[MessageEvent], str | None]
"""An event in, its text out: "" for none, None for the end of the stream."""

_DONE = "[DONE]"


def text_decoder(name: str, *, done: str | None = _DONE) -> Decode:
    """Return a fresh decoder.

    Args:
        name: One of `DIALECTS`.
        done: The end marker of the framings `text` and `json`, None for none.
    """
    if name == "text":
        return TextFraming(done=done).decoder()
    if name == "json":
        return JSONFraming(done=done).decoder()
    if name == "auto":
        return _Detector(done).decode
    return _OBJECTS[name]


class _Detector:
    """Decide by the first event with data, then stay with it."""

    def __init__(self, done: str | None) -> None:
        self._done = done
        self._decode: Decode | None = None

    def decode(self, event: MessageEvent) -> str | None:
        if self._decode is None:
            name = recognise(event)
            if name is None or event.data == self._done:
                return None if event.data == self._done else ""
            self._decode = text_decoder(name, done=self._done)
        return self._decode(event)


def recognise(event: MessageEvent) -> str | None:
    """Tell by an event which dialect its stream speaks; None for an event that tells nothing."""
    value = _json(event.data)
    if isinstance(value, dict):
        found = _recognise_object(cast("dict[str, Any]", value))
        if found:
            return found
    if event.type != "message":
        return None
    return "json" if isinstance(value, str) else "text"


def _recognise_object(value: dict[str, Any]) -> str | None:
    kind = value.get("type")
    if "choices" in value or (isinstance(kind, str) and kind.startswith("response.")):
        return "openai"
    if kind in ("message_start", "content_block_start", "content_block_delta"):
        return "anthropic"
    if kind in ("start", "start-step", "text-start", "text-delta"):
        return "ai-sdk"
    return None


def _read_openai(event: MessageEvent) -> str | None:
    if event.data == _DONE:
        return None
    value = _object(event.data)
    _raise_error(value.get("error"))
    kind = value.get("type")
    if kind in ("response.completed", "response.incomplete"):
        return None
    if kind == "response.failed":
        _raise_error(_object_of(value.get("response")).get("error") or "the response failed")
    if kind == "response.output_text.delta":
        return _text(value.get("delta"))
    choices = value.get("choices")
    if not isinstance(choices, list):
        return ""
    return "".join(map(_choice_text, cast("list[object]", choices)))


def _choice_text(choice: object) -> str:
    value = _object_of(choice)
    delta = _object_of(value.get("delta"))
    return _text(delta.get("content")) or _text(value.get("text"))


def _read_anthropic(event: MessageEvent) -> str | None:
    value = _object(event.data)
    if value.get("type") == "message_stop":
        return None
    _raise_error(value.get("error"))
    if value.get("type") == "content_block_delta":
        return _text(_object_of(value.get("delta")).get("text"))
    return ""


def _read_ai_sdk(event: MessageEvent) -> str | None:
    if event.data == _DONE:
        return None
    value = _object(event.data)
    _raise_error(value.get("errorText") if value.get("type") == "error" else None)
    return _text(value.get("delta")) if value.get("type") == "text-delta" else ""


_OBJECTS: dict[str, Decode] = {
    "openai": _read_openai,
    "anthropic": _read_anthropic,
    "ai-sdk": _read_ai_sdk,
}

DIALECTS = ("auto", "text", "json", *_OBJECTS)


def _raise_error(error: object) -> None:
    if error:
        message = _object_of(error).get("message", error)
        raise StreamFailedError(str(message), text="")


def _json(text: str) -> object:
    # Only what begins as an object or a string is parsed: a deep array is no dialect's.
    if not text.lstrip(" \t\r\n").startswith(("{", '"')):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _object(text: str) -> dict[str, Any]:
    return _object_of(_json(text))


def _object_of(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
