"""The response object of OpenAI's Responses API, with every field that Open Responses asks for."""

from sse_asgi.dialects.decoder import object_in, text_in
from sse_asgi.wire.parts import Usage

Object = dict[str, object]

# What the server has not been told of is as it is where a request does not name it.
_UNSET: Object = {
    "background": False,
    "error": None,
    "frequency_penalty": 0,
    "incomplete_details": None,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "presence_penalty": 0,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": None,
    "safety_identifier": None,
    "service_tier": "default",
    "store": False,
    "temperature": 1,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": 1,
    "truncation": "disabled",
    "usage": None,
}

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def response_object(
    id: str,  # noqa: A002 - the field's name
    *,
    model: str,
    created_at: int,
    status: str,
    output: list[Object],
    **changed: object,
) -> Object:
    """Return a response object. `changed` are the fields that are other than unset."""
    return {
        "id": id,
        "object": "response",
        "created_at": created_at,
        "completed_at": None,
        "status": status,
        "model": model,
        "output": output,
        **_UNSET,
        **changed,
    }


def status_of(reason: str) -> tuple[str, Object]:
    """Return the status of a response that finished for a reason, and what explains it."""
    cause = _INCOMPLETE.get(reason)
    if cause is None:
        return "completed", {}
    return "incomplete", {"incomplete_details": {"reason": cause}}


def reason_of(response: Object, *, has_calls: bool) -> str:
    """Return why a response finished, as its status and its details tell it."""
    cause = text_in(object_in(response, "incomplete_details"), "reason")
    if cause:
        return {word: reason for reason, word in _INCOMPLETE.items()}.get(cause, cause)
    return "tool_calls" if has_calls and response.get("status") == "completed" else "stop"


def usage_object(usage: Usage, total_tokens: int | None) -> Object | None:
    """Return the usage of a response, None if none is known."""
    if usage == Usage():
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": total_tokens,
    }


def text_part(text: str) -> Object:
    """Return the content of a message item."""
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def summary_part(text: str) -> Object:
    """Return the summary of a reasoning item."""
    return {"type": "summary_text", "text": text}


def message_item(id: str, status: str, content: list[Object]) -> Object:  # noqa: A002 - its name
    """Return an output item that holds text."""
    return {
        "id": id,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    }


def reasoning_item(id: str, summary: list[Object]) -> Object:  # noqa: A002 - its name
    """Return an output item that holds reasoning."""
    return {"id": id, "type": "reasoning", "summary": summary}
