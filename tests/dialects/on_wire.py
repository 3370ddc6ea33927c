"""What the reference shows of the dialects: one answer as each puts it on the wire, abbreviated."""

import json
import re
from collections.abc import Iterator

from sse_asgi import EventStreamDecoder, Finish, Framing, Outcome, Reasoning, ToolCall, Usage
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages

MESSAGE = "The stream failed on the server."
FRAMINGS = {
    "ChatCompletions": ChatCompletions("mine", id="chatcmpl-1", include_usage=True),
    "Responses": Responses("mine", id="resp_1"),
    "AnthropicMessages": AnthropicMessages("mine", id="msg_1"),
    "UIMessages": UIMessages(message_id="msg_1"),
    "AGUI": AGUI(thread_id="thread-1", run_id="run-1"),
}
SOURCE = [
    Reasoning("Think"),
    "Hello",
    ToolCall("weather", {"city": "Oslo"}, "call_1"),
    Usage(9, 4),
]
_KEPT = ("id", "status", "incomplete_details", "error", "usage")


def encode(framing: Framing, source: list, *, ends: bool = True, reason: str = "") -> bytes:
    """Return a whole answer's bytes, or those of one that fails at its end."""
    encoder = framing.encoder()
    encoded = [encoder.begin()]
    for item in [*source, *([Finish(reason)] if reason else [])]:
        encoded.append(encoder.text([item]) if isinstance(item, str) else encoder.part(item))
    encoded.append(encoder.end() if ends else encoder.fail(MESSAGE, Outcome.FAILED))
    return b"".join(encoded)


def objects(encoded: bytes) -> list[dict]:
    """Return the data of the events, without `[DONE]`."""
    events = EventStreamDecoder().feed(encoded)
    return [json.loads(event.data) for event in events if event.data != "[DONE]"]


def shown(framing: Framing) -> str:
    """Return what the page shows: the answer, an empty line, and the error of one that fails."""
    whole = encode(framing, SOURCE)
    begun = len(framing.encoder().begin())
    failed = encode(framing, [], ends=False)[begun:]
    return "\n".join([*_lines(whole), "", *_lines(failed)]) + "\n"


def _lines(encoded: bytes) -> Iterator[str]:
    for event in EventStreamDecoder().feed(encoded):
        yield f"data: {_abbreviated(event.data)}"


def _abbreviated(data: str) -> str:
    """Leave out what is the same in every event, or says nothing here."""
    if data == "[DONE]":
        return data
    value = json.loads(data)
    response = value.get("response")
    if response:
        kept = {name: response[name] for name in _KEPT if response.get(name)}
        value["response"] = {**kept, "": ""}
    if value.get("object") == "chat.completion.chunk":
        value = {"id": value["id"], "": "", **{k: value[k] for k in ("choices", "usage")}}
    text = json.dumps(value, ensure_ascii=False)
    return re.sub(r"[0-9a-f]{32}", "…", text).replace('"": ""', "…")


def at(value: object, path: str) -> object:
    """Return what stands at a path such as `choices[0].delta`, None if nothing does."""
    for name in re.findall(r"\w+", path):
        if isinstance(value, list):
            value = value[int(name)] if int(name) < len(value) else None
        else:
            value = value.get(name) if isinstance(value, dict) else None
    return value


if __name__ == "__main__":
    for name, framing in FRAMINGS.items():
        print(f"## {name}\n\n```text\n{shown(framing)}```\n")
