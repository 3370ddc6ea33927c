"""Anthropic's clients: messages."""

from collections.abc import Iterator

from sse_asgi.chat.answer import Answer, json_answer
from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.whole import Kept
from sse_asgi.dialects import AnthropicMessages
from sse_asgi.dialects.events import HOLE, fill
from sse_asgi.wire.json_text import json_bytes
from sse_asgi.wire.parts import ToolCall

_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class AnthropicMessagesDialect:
    """`POST /messages`."""

    name = "anthropic_messages"

    def read(self, body: Body) -> Order:
        """Return what a request asks for."""
        return Order(
            messages=body.messages(),
            framing=AnthropicMessages,
            whole=None if body.flag("stream") else _message,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error; its shape has no field for a parameter."""
        kind = "api_error" if error.status >= 500 else "invalid_request_error"
        what = {"type": _ERROR_TYPES.get(error.status, kind), "message": error.message}
        return json_answer({"type": "error", "error": what}, error.status, error)


def _message(kept: Kept) -> bytes:
    """Return a message: what the first and the last events of a stream say, and its blocks."""
    events = kept.events()
    start, end = events[0]["message"], events[-2]
    message = {**start, **end["delta"], "content": list(_blocks(events)), "usage": end["usage"]}
    body = json_bytes(message)
    for item in kept.said:
        if isinstance(item, ToolCall):  # as it is: Python does not read every number
            body = fill(body, item.arguments)
    return body


def _blocks(events: list[Object]) -> Iterator[Object]:
    """Give the blocks that events bring bit by bit, with a hole for the input of a tool."""
    block: Object = {}
    for event in events:
        if event["type"] == "content_block_start":
            block = event["content_block"]
            block |= {"input": HOLE} if block["type"] == "tool_use" else {}
        elif event["type"] == "content_block_delta":
            for name in event["delta"].keys() & ("text", "thinking"):
                block[name] += event["delta"][name]
        elif event["type"] == "content_block_stop":
            yield block
