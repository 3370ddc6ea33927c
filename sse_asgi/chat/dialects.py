"""How each kind of client asks for an answer, and is told of an error."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol, TypeAlias

from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.client import Answer, Client, error_headers, json_answer
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.framings import Kept
from sse_asgi.chat.whole import completion, message, response
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.wire.events import utf8
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.names import make_id

MakeWhole: TypeAlias = Callable[[Kept], bytes]

_OPENAI_ERRORS = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_ANTHROPIC_ERRORS = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one request asks for.

    Attributes:
        messages: The messages as sent.
        messages_in: The parameter that holds them.
        framing: Given the model's name, returns the framing of the answer.
        whole: Given what was said, returns the answer as one JSON object; `None` where the client
            wants a stream.
        named: The client's name for the answer, by which it comes back for it with `live`; `None`
            where it does not come back.
        needs_live: The parameter that asks for what only an app with `live` has.
    """

    messages: list[Object]
    messages_in: str = "messages"
    framing: Callable[[str], Framing]
    whole: MakeWhole | None
    named: str | None = None
    needs_live: str | None = None


class Dialect(Protocol):
    """One kind of client."""

    @property
    def name(self) -> str:
        """What `Chat.dialect` says."""
        ...

    def read(self, body: Body) -> Order:
        """Return what a request asks for.

        Raises:
            InvalidRequestError: A parameter is wrong, or cannot be served.
        """
        ...

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error, in its own shape."""
        ...


class _OpenAIDialect:
    def refusal(self, error: ChatError) -> Answer:
        """Return an error in OpenAI's shape."""
        kind = "server_error" if error.status >= 500 else "invalid_request_error"
        what = {
            "message": error.message,
            "type": _OPENAI_ERRORS.get(error.status, kind),
            "param": error.param,
            "code": error.code,
        }
        return json_answer({"error": what}, error.status, error)


class ChatCompletionsDialect(_OpenAIDialect):
    """`POST /chat/completions`."""

    name = "chat_completions"

    def read(self, body: Body) -> Order:
        """Return what a request asks for."""
        if body.number("n") not in (None, 1):
            raise InvalidRequestError("n", "'n' must be 1: a request has one answer.")
        streams = body.flag("stream")
        include_usage = not streams or body.flag_in("stream_options", "include_usage")
        return Order(
            messages=body.messages(),
            framing=lambda model: ChatCompletions(model, include_usage=include_usage),
            whole=None if streams else completion,
        )


class ResponsesDialect(_OpenAIDialect):
    """`POST /responses`."""

    name = "responses"

    def read(self, body: Body) -> Order:
        """Return what a request asks for."""
        in_background = body.flag("background")
        name = make_id("resp_")
        return Order(
            messages=body.one_message("input") or body.messages("input", are_items=True),
            messages_in="input",
            framing=lambda model: Responses(model, id=name, background=in_background),
            whole=None if body.flag("stream") else response,
            named=name if in_background else None,
            needs_live="background" if in_background else None,
        )


class AnthropicMessagesDialect:
    """`POST /messages`."""

    name = "anthropic_messages"

    def read(self, body: Body) -> Order:
        """Return what a request asks for."""
        return Order(
            messages=body.messages(),
            framing=AnthropicMessages,
            whole=None if body.flag("stream") else message,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error; its shape has no field for a parameter."""
        kind = "api_error" if error.status >= 500 else "invalid_request_error"
        what = {"type": _ANTHROPIC_ERRORS.get(error.status, kind), "message": error.message}
        return json_answer({"type": "error", "error": what}, error.status, error)


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


class AGUIDialect:
    """`POST /ag-ui`. The answer always is a stream."""

    name = "ag_ui"

    def read(self, body: Body) -> Order:
        """Return what a request, a `RunAgentInput`, asks for."""
        run_id = body.required_text("runId")
        framing = AGUI(thread_id=body.required_text("threadId"), run_id=run_id)
        return Order(
            messages=body.messages(),
            framing=lambda model: framing,  # noqa: ARG005 - its runs name no model
            whole=None,
            named=run_id,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error, as the event that would tell it later."""
        what = {"type": "RUN_ERROR", "message": error.message}
        what |= {"code": error.code} if error.code else {}
        return json_answer(what, error.status, error)


def _id_to_continue(last: Object) -> str | None:
    """Return the id of the message that the answer goes on with, after results of tools.

    With another id the client would show it twice.
    """
    id_ = last.get("id") if last.get("role") == "assistant" else None
    return id_ if isinstance(id_, str) and id_ else None


OPENAI: Final = ChatCompletionsDialect()
RESPONSES: Final = ResponsesDialect()
AI_SDK: Final = UIMessagesDialect()
AG_UI: Final = AGUIDialect()
DIALECTS: Final[dict[str, Dialect]] = {
    "chat/completions": OPENAI,
    "responses": RESPONSES,
    "messages": AnthropicMessagesDialect(),
    "ai-sdk": AI_SDK,
    "ag-ui": AG_UI,
}
"""Each at its path."""


Act: TypeAlias = Callable[[Client, str], Awaitable[None]]
"""Answers a client, given what the address names."""


class Address(NamedTuple):
    """What is done at one address, by the request's method, and in whose words it is refused."""

    dialect: Dialect
    acts: dict[str, Act]
