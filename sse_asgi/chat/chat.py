"""What a client asks of a generator, whichever dialect it speaks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

from sse_asgi.source.request import Request


@dataclass(slots=True, kw_only=True)
class Chat:
    """Hold one request for an answer.

    Attributes:
        messages: The messages as sent, in the client's own shape.
        text: The text of the last message of the user, "" for none.
        model: The model that the client names; the app's first where its dialect has none.
        tools: The tools as sent.
        options: Everything else of the body, unvalidated.
        principal: What `authorize` returned; `None` without it.
        request: The HTTP request.
        dialect: What the client speaks: "chat_completions", "responses", "anthropic_messages",
            "ui_messages" or "ag_ui".
    """

    messages: list[dict[str, Any]]
    text: str = field(init=False)
    model: str
    tools: list[dict[str, Any]]
    options: dict[str, Any]
    principal: object | None
    request: Request = field(repr=False)
    dialect: str

    def __post_init__(self) -> None:
        self.text = text_of(self.messages)


def text_of(messages: list[dict[str, Any]]) -> str:
    """Return the text of the last message of the user. A message of tool results is none."""
    for message in reversed(messages):
        if message.get("role") != "user":
            continue
        content = message.get("content") or message.get("parts") or ""
        if isinstance(content, str):
            return content
        parts = list(_objects(content))
        if not parts or any(part.get("type") != "tool_result" for part in parts):
            return "".join(_texts(parts))
    return ""


def _texts(parts: list[dict[str, Any]]) -> Iterator[str]:
    for part in parts:
        if part.get("type") in ("text", "input_text") and isinstance(part.get("text"), str):
            yield part["text"]


def _objects(value: object) -> Iterator[dict[str, Any]]:
    items = cast("list[object]", value) if isinstance(value, list) else []
    return (cast("dict[str, Any]", item) for item in items if isinstance(item, dict))
