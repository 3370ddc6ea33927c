"""Anthropic's clients: messages."""

import json

from sse_asgi.chat.answer import Answer, json_answer
from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.whole import calls_of, events_of, reasoning_of
from sse_asgi.dialects import AnthropicMessages
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing

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
            model=body.text("model"),
            tools=body.objects("tools"),
            options=body.others("messages", "model", "tools"),
            framing=AnthropicMessages,
            whole=None if body.flag("stream") else _message,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error; its shape has no field for a parameter."""
        kind = "api_error" if error.status >= 500 else "invalid_request_error"
        what = {"type": _ERROR_TYPES.get(error.status, kind), "message": error.message}
        return json_answer({"type": "error", "error": what}, error.status, error)


def _message(framing: Framing, transcript: Transcript) -> Object:
    """Return a message: what the first and the last events of a stream say, and the content."""
    events = {event["type"]: event for event in events_of(framing, transcript)}
    message: Object = events["message_start"]["message"]
    last = events["message_delta"]
    return {
        **message,
        **last["delta"],
        "content": _content(transcript),
        "usage": last["usage"],
    }


def _content(transcript: Transcript) -> list[Object]:
    reasoning = reasoning_of(transcript)
    thinking = {"type": "thinking", "thinking": reasoning, "signature": ""}
    text = {"type": "text", "text": transcript.text}
    calls = [
        {"type": "tool_use", "id": call.id, "name": call.name, "input": json.loads(call.arguments)}
        for call in calls_of(transcript)
    ]
    return [*([thinking] if reasoning else []), *([text] if transcript.text else []), *calls]
