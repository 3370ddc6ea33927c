"""The clients of Vercel's AI SDK, `useChat` for instance."""

from sse_asgi.chat.answer import Answer, error_headers
from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError
from sse_asgi.dialects import UIMessages
from sse_asgi.wire.events import utf8


class UIMessagesDialect:
    """`POST /ai-sdk`. The answer always is a stream."""

    name = "ui_messages"

    def read(self, body: Body) -> Order:
        """Return what a request asks for."""
        messages = body.messages(content="parts")
        continued = _id_to_continue(messages[-1])
        return Order(
            messages=messages,
            framing=lambda model: UIMessages(message_id=continued),  # noqa: ARG005 - it has none
            whole=None,
            named=body.text("id") or None,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error: plain text, which it shows as the message."""
        headers = error_headers(error)
        return Answer(error.status, utf8(error.message), "text/plain; charset=utf-8", headers)


def _id_to_continue(last: Object) -> str | None:
    """Return the id of the message that the answer goes on with, after results of tools.

    With another id the client would show it twice.
    """
    id_ = last.get("id") if last.get("role") == "assistant" else None
    return id_ if isinstance(id_, str) and id_ else None
