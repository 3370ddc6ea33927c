"""OpenAI's clients: chat completions and responses."""

from sse_asgi.chat.answer import Answer, json_answer
from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError, InvalidRequestError
from sse_asgi.chat.whole import Kept
from sse_asgi.dialects import ChatCompletions, Responses
from sse_asgi.wire.json_text import json_bytes
from sse_asgi.wire.names import make_id
from sse_asgi.wire.parts import Part, Reasoning, ToolCall

_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}


class ChatCompletionsDialect:
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
            whole=None if streams else _completion,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error."""
        return refusal(error)


class ResponsesDialect:
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
            whole=None if body.flag("stream") else _response,
            named=name if in_background else None,
            needs_live="background" if in_background else None,
        )

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error."""
        return refusal(error)


def refusal(error: ChatError) -> Answer:
    """Return an error in OpenAI's shape."""
    kind = "server_error" if error.status >= 500 else "invalid_request_error"
    what = {
        "message": error.message,
        "type": _ERROR_TYPES.get(error.status, kind),
        "param": error.param,
        "code": error.code,
    }
    return json_answer({"error": what}, error.status, error)


def _completion(kept: Kept) -> bytes:
    """Return a chat completion."""
    chunks = kept.events()
    [choice] = (each for chunk in chunks for each in chunk["choices"] if each["finish_reason"])
    completion: Object = {
        **{name: chunks[0][name] for name in ("id", "created", "model")},
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": _message(kept.said),
                "logprobs": None,
                "finish_reason": choice["finish_reason"],
            }
        ],
    }
    usage = chunks[-1].get("usage")
    return json_bytes(completion | {"usage": usage} if usage else completion)


def _response(kept: Kept) -> bytes:
    """Return a response: the last event of a stream has all of it."""
    return json_bytes(kept.events()[-1]["response"])


def _message(said: list[str | Part]) -> Object:
    text = "".join(item for item in said if isinstance(item, str))
    reasoning = "".join(item.text for item in said if isinstance(item, Reasoning))
    calls = [
        {
            "id": item.id,
            "type": "function",
            "function": {"name": item.name, "arguments": item.arguments},
        }
        for item in said
        if isinstance(item, ToolCall)
    ]
    return {
        "role": "assistant",
        "content": None if calls and not text else text,
        "refusal": None,
        **({"reasoning_content": reasoning} if reasoning else {}),
        **({"tool_calls": calls} if calls else {}),
    }
