"""The framings that `listen` and `doctor` read: those of plain text, and the known dialects."""

from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.errors import FramingError, IncompleteStreamError
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Decode, Framing, Item, JSONFraming, TextFraming
from sse_asgi.wire.json_text import read_object

_DIALECTS: dict[str, Framing] = {  # only encoders use the arguments
    "chat-completions": ChatCompletions("any"),
    "responses": Responses("any"),
    "anthropic": AnthropicMessages("any"),
    "ui-messages": UIMessages(),
    "ag-ui": AGUI(thread_id="any", run_id="any"),
}
NAMES = ("auto", "text", "json", *_DIALECTS)
"""What `--framing` may be."""


def make_decoder(name: str, *, done: str | None = "[DONE]") -> Decode:
    """Return a fresh decoder; "auto" decides by the first event that tells, then stays with it.

    `done` is the end marker of the framings `text` and `json`, None for none.
    """
    plain: dict[str, Framing] = {"text": TextFraming(done=done), "json": JSONFraming(done=done)}
    if name != "auto":
        return {**_DIALECTS, **plain}[name].decoder()
    found: Decode | None = None

    def decode(event: MessageEvent) -> Item | tuple[Item, ...]:
        nonlocal found
        if found is None and event.data == done:
            return None
        if found is None and (recognised := recognise(event)):
            found = make_decoder(recognised, done=done)
        return found(event) if found else ""

    return decode


def recognise(event: MessageEvent) -> str | None:
    """Tell by an event which framing its stream has; None for an event that tells nothing."""
    if read_object(event.data) is not None:
        for name, dialect in _DIALECTS.items():
            if _is_known(dialect.decoder(), event):
                return name
    if event.type == "error":
        return "text"
    if event.type != "message":
        return None
    return "json" if _is_known(JSONFraming(done=None).decoder(), event) else "text"


def _is_known(decode: Decode, event: MessageEvent) -> bool:
    try:
        decode(event)
    except FramingError:
        return False
    except IncompleteStreamError:  # it tells of a failure, in the dialect's words
        pass
    return True
