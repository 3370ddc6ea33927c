"""The framings that `listen` reads: those of plain text, and the dialects of known servers."""

from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.errors import FramingError, IncompleteStreamError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, Framing, Item, JSONFraming, TextFraming
from sse_asgi.wire.json_text import read_object

_ANY = "any"  # what only encoders use
_DIALECTS: dict[str, Framing] = {
    "chat-completions": ChatCompletions(_ANY),
    "responses": Responses(_ANY),
    "anthropic": AnthropicMessages(_ANY),
    "ui-messages": UIMessages(),
    "ag-ui": AGUI(thread_id=_ANY, run_id=_ANY),
}

NAMES = ("auto", "text", "json", *_DIALECTS)
"""What `--framing` may be."""


def make_decoder(name: str, *, done: str | None = "[DONE]") -> Decode:
    """Return a fresh decoder.

    Args:
        name: One of `NAMES`.
        done: The end marker of the framings `text` and `json`, None for none.
    """
    if name == "auto":
        return _Detector(done)
    if name == "text":
        return TextFraming(done=done).decoder()
    if name == "json":
        return JSONFraming(done=done).decoder()
    return _DIALECTS[name].decoder()


class _Detector:
    """Decide by the first event that tells, then stay with it."""

    def __init__(self, done: str | None) -> None:
        self._done = done
        self._decode: Decode | None = None

    def __call__(self, event: MessageEvent) -> Item | tuple[Item, ...]:
        if self._decode is None:
            if event.data == self._done:
                return None
            name = recognise(event)
            if name is None:
                return ""
            self._decode = make_decoder(name, done=self._done)
        return self._decode(event)


def recognise(event: MessageEvent) -> str | None:
    """Tell by an event which framing its stream has; None for an event that tells nothing."""
    if read_object(event.data) is not None:
        for name in _DIALECTS:
            if _is_known(make_decoder(name), event):
                return name
    if event.type == "error":
        return "text"
    if event.type != "message":
        return None
    return "json" if _is_known(make_decoder("json", done=None), event) else "text"


def _is_known(decode: Decode, event: MessageEvent) -> bool:
    try:
        decode(event)
    except FramingError:
        return False
    except IncompleteStreamError:  # it tells of a failure, in the dialect's words
        pass
    return True
