"""Answers that do not stream, made of the events that would have been one."""

from collections.abc import Iterator

from sse_asgi.chat.body import Object
from sse_asgi.chat.framings import Kept
from sse_asgi.dialects.encoder import HOLE, fill
from sse_asgi.wire.json_text import json_bytes
from sse_asgi.wire.parts import Part, Reasoning, ToolCall


def completion(kept: Kept) -> bytes:
    """Return a chat completion."""
    chunks = kept.events()
    [choice] = (each for chunk in chunks for each in chunk["choices"] if each["finish_reason"])
    completion: Object = {
        **{name: chunks[0][name] for name in ("id", "created", "model")},
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "message": _said_by_assistant(kept.said),
                "logprobs": None,
                "finish_reason": choice["finish_reason"],
            }
        ],
    }
    usage = chunks[-1].get("usage")
    return json_bytes(completion | {"usage": usage} if usage else completion)


def response(kept: Kept) -> bytes:
    """Return a response: the last event of a stream has all of it."""
    return json_bytes(kept.events()[-1]["response"])


def message(kept: Kept) -> bytes:
    """Return a message: what the first and the last events of a stream say, and its blocks."""
    events = kept.events()
    start, end = events[0]["message"], events[-2]
    message = {**start, **end["delta"], "content": list(_blocks(events)), "usage": end["usage"]}
    body = json_bytes(message)
    for item in kept.said:
        if isinstance(item, ToolCall):  # as it is: Python does not read every number
            body = fill(body, item.arguments)
    return body


def _said_by_assistant(said: list[str | Part]) -> Object:
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
