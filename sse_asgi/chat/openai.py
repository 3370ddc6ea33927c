"""OpenAI's clients: chat completions and responses."""

from sse_asgi.chat.answer import Answer, json_answer
from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.dialect import Order
from sse_asgi.chat.error import ChatError, InvalidRequestError, param_of
from sse_asgi.chat.whole import calls_of, events_of, reasoning_of
from sse_asgi.dialects import ChatCompletions, Responses
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing

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
            model=body.text("model"),
            tools=body.objects("tools"),
            options=body.others("messages", "model", "tools"),
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
        if body.flag("background"):
            raise InvalidRequestError("background", "'background' must be false.")
        return Order(
            messages=body.one_message("input") or body.messages("input", are_items=True),
            model=body.text("model"),
            tools=body.objects("tools"),
            options=body.others("input", "model", "tools"),
            framing=Responses,
            whole=None if body.flag("stream") else _response,
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
        "param": param_of(error),
        "code": error.code,
    }
    return json_answer({"error": what}, error.status, error)


def _completion(framing: Framing, transcript: Transcript) -> Object:
    """Return a chat completion."""
    chunks = events_of(framing, transcript)
    [choice] = (each for chunk in chunks for each in chunk["choices"] if each["finish_reason"])
    completion: Object = {
        **{name: chunks[0][name] for name in ("id", "created", "model")},
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": _message(transcript),
                "logprobs": None,
                "finish_reason": choice["finish_reason"],
            }
        ],
    }
    usage = chunks[-1].get("usage")
    return completion | {"usage": usage} if usage else completion


def _response(framing: Framing, transcript: Transcript) -> Object:
    """Return a response: the last event of a stream has all of it."""
    response: Object = events_of(framing, transcript)[-1]["response"]
    return response


def _message(transcript: Transcript) -> Object:
    calls = [
        {
            "id": part.id,
            "type": "function",
            "function": {"name": part.name, "arguments": part.arguments},
        }
        for part in calls_of(transcript)
    ]
    reasoning = reasoning_of(transcript)
    return {
        "role": "assistant",
        "content": None if calls and not transcript.text else transcript.text,
        "refusal": None,
        **({"reasoning_content": reasoning} if reasoning else {}),
        **({"tool_calls": calls} if calls else {}),
    }
