"""The events of each framing, as schemas. The tests hold them against what encoders send."""

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.openapi.schema import (
    ANY,
    ARRAY,
    INT,
    NULL,
    OBJECT,
    STR,
    Schema,
    array,
    event,
    obj,
    or_null,
    text_event,
    typed,
)
from sse_asgi.wire.framing import JSONFraming, TextFraming

Events: TypeAlias = list[Schema]

_DONE: Final = text_event({"const": "[DONE]"})
_FAILURE: Final = event(obj(message=STR), "error")
_PARTS: Final = [
    event(obj(text=STR), "reasoning"),
    event(obj(id=STR, name=STR, arguments=STR), "tool_call"),
    event(obj(input_tokens=or_null(INT), output_tokens=or_null(INT)), "usage"),
    event(obj(reason=STR), "finish"),
]


def _text(framing: TextFraming) -> Events:
    return [text_event({"description": "A chunk of text."}), *_PARTS, _FAILURE, *_end(framing)]


def _json_text(framing: JSONFraming) -> Events:
    chunk = {"type": "string", "description": "A chunk of text."}
    return [event(chunk), *_PARTS, _FAILURE, *_end(framing)]


def _end(framing: TextFraming | JSONFraming) -> Events:
    return [] if framing.done is None else [text_event({"const": framing.done})]


def _chat_completions(_: ChatCompletions) -> Events:
    call = obj(index=INT, id=STR, type={"const": "function"}, function=obj(name=STR, arguments=STR))
    delta = obj(
        optional=("role", "content", "reasoning_content", "tool_calls"),
        role={"const": "assistant"},
        content=or_null(STR),
        reasoning_content=STR,
        tool_calls=array(call),
    )
    choice = obj(index=INT, delta=delta, finish_reason=or_null(STR), logprobs=ANY)
    usage = obj(prompt_tokens=INT, completion_tokens=INT, total_tokens=INT)
    chunk = obj(
        optional=("usage",),
        id=STR,
        object={"const": "chat.completion.chunk"},
        created=INT,
        model=STR,
        choices=array(choice),
        usage=or_null(usage),
    )
    error = obj(message=STR, type=STR, param=or_null(STR), code=or_null(STR))
    return [event(chunk), event(obj(error=error)), _DONE]


def _responses(_: Responses) -> Events:
    in_item: dict[str, Any] = {"item_id": STR, "output_index": INT}
    in_part = in_item | {"content_index": INT}
    in_summary = in_item | {"summary_index": INT}
    fields: dict[str, dict[str, Schema]] = {
        **{
            f"response.{state}": {"response": OBJECT}
            for state in ("created", "in_progress", "completed", "incomplete", "failed")
        },
        "response.output_item.added": {"output_index": INT, "item": OBJECT},
        "response.output_item.done": {"output_index": INT, "item": OBJECT},
        "response.content_part.added": in_part | {"part": OBJECT},
        "response.content_part.done": in_part | {"part": OBJECT},
        "response.output_text.delta": in_part | {"delta": STR, "logprobs": ARRAY},
        "response.output_text.done": in_part | {"text": STR, "logprobs": ARRAY},
        "response.reasoning_summary_part.added": in_summary | {"part": OBJECT},
        "response.reasoning_summary_part.done": in_summary | {"part": OBJECT},
        "response.reasoning_summary_text.delta": in_summary | {"delta": STR},
        "response.reasoning_summary_text.done": in_summary | {"text": STR},
        "response.function_call_arguments.delta": in_item | {"delta": STR},
        "response.function_call_arguments.done": in_item | {"name": STR, "arguments": STR},
        "error": {"error": obj(type=STR, code=STR, message=STR, param=or_null(STR))},
    }
    return [
        *(
            event(typed(kind, {"sequence_number": INT, **properties}), kind)
            for kind, properties in fields.items()
        ),
        _DONE,
    ]


def _anthropic_messages(_: AnthropicMessages) -> Events:
    usage = obj(input_tokens=INT, output_tokens=INT)
    message = typed(
        "message",
        {
            "id": STR,
            "role": {"const": "assistant"},
            "model": STR,
            "content": ARRAY,
            "stop_reason": NULL,
            "stop_sequence": NULL,
            "usage": usage,
        },
    )
    block = {
        "oneOf": [
            typed("text", {"text": STR}),
            typed("thinking", {"thinking": STR, "signature": STR}),
            typed("tool_use", {"id": STR, "name": STR, "input": OBJECT}),
        ]
    }
    delta = {
        "oneOf": [
            typed("text_delta", {"text": STR}),
            typed("thinking_delta", {"thinking": STR}),
            typed("input_json_delta", {"partial_json": STR}),
        ]
    }
    end = obj(stop_reason=STR, stop_sequence=or_null(STR))
    fields: dict[str, dict[str, Schema]] = {
        "message_start": {"message": message},
        "content_block_start": {"index": INT, "content_block": block},
        "content_block_delta": {"index": INT, "delta": delta},
        "content_block_stop": {"index": INT},
        "message_delta": {"delta": end, "usage": usage},
        "message_stop": {},
        "error": {"error": obj(type=STR, message=STR)},
    }
    return [event(typed(kind, properties), kind) for kind, properties in fields.items()]


def _ui_messages(_: UIMessages) -> Events:
    tool = {"toolCallId": STR, "toolName": STR}
    fields: dict[str, dict[str, Schema]] = {
        "start": {"messageId": STR},
        "start-step": {},
        **{
            f"{what}-{step}": {"id": STR} | ({"delta": STR} if step == "delta" else {})
            for what in ("text", "reasoning")
            for step in ("start", "delta", "end")
        },
        "tool-input-start": tool,
        "tool-input-delta": {"toolCallId": STR, "inputTextDelta": STR},
        "tool-input-available": tool | {"input": ANY},
        "finish-step": {},
        "message-metadata": {"messageMetadata": OBJECT},
        "abort": {},
        "error": {"errorText": STR},
    }
    finish = typed(
        "finish",
        {"finishReason": STR, "messageMetadata": OBJECT},
        optional=("messageMetadata",),
    )
    known = [typed(kind, properties) for kind, properties in fields.items()]
    return [*map(event, known), event(finish), _DONE]


def _ag_ui(_: AGUI) -> Events:
    message, call = {"messageId": STR}, {"toolCallId": STR}
    fields: dict[str, dict[str, Schema]] = {
        "RUN_STARTED": {"threadId": STR, "runId": STR},
        "REASONING_START": message,
        "REASONING_MESSAGE_START": message | {"role": {"const": "reasoning"}},
        "REASONING_MESSAGE_CONTENT": message | {"delta": STR},
        "REASONING_MESSAGE_END": message,
        "REASONING_END": message,
        "TEXT_MESSAGE_START": message | {"role": {"const": "assistant"}},
        "TEXT_MESSAGE_CONTENT": message | {"delta": STR},
        "TEXT_MESSAGE_END": message,
        "TOOL_CALL_START": call | {"toolCallName": STR},
        "TOOL_CALL_ARGS": call | {"delta": STR},
        "TOOL_CALL_END": call,
        "RUN_ERROR": {"message": STR, "code": STR},
    }
    finished = typed(
        "RUN_FINISHED",
        {
            "threadId": STR,
            "runId": STR,
            "outcome": OBJECT,
            "metadata": OBJECT,
            "usage": array(OBJECT),
        },
        optional=("metadata", "usage"),
    )
    known = [typed(kind, properties) for kind, properties in fields.items()]
    return [*map(event, known), event(finished)]


EVENTS: Final[dict[type, Callable[[Any], Events]]] = {
    TextFraming: _text,
    JSONFraming: _json_text,
    ChatCompletions: _chat_completions,
    Responses: _responses,
    AnthropicMessages: _anthropic_messages,
    UIMessages: _ui_messages,
    AGUI: _ag_ui,
}
