"""What upstreams send: one answer with everything, in the API's own events, and a server of it."""

import json

import httpx2

from tests.lazily import anthropic, openai

ARGUMENTS = '{"city":"Århus"}'

CHAT = [
    {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
    {"choices": [{"index": 0, "delta": {"reasoning_content": "Think"}}]},
    {"choices": [{"index": 0, "delta": {"content": "Hel"}}]},
    {"choices": [{"index": 0, "delta": {"content": "lo\n[DONE]\u2028 🦜"}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [
        {"index": 0, "id": "call_1", "type": "function",
         "function": {"name": "weather", "arguments": ""}}]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [
        {"index": 0, "function": {"arguments": '{"city":'}}]}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [
        {"index": 0, "function": {"arguments": '"Århus"}'}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}},
]  # fmt: skip
for _chunk in CHAT:
    _chunk |= {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}

_CALL = {"id": "fc_1", "type": "function_call", "name": "weather", "call_id": "call_1"}
_RESPONSE = {"id": "resp_1", "object": "response", "created_at": 1, "model": "m", "output": [],
             "parallel_tool_calls": True, "tool_choice": "auto", "tools": []}  # fmt: skip
_MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant"}
_TEXT = {"type": "output_text", "text": "", "annotations": []}
_AT = {"output_index": 1, "content_index": 0, "item_id": "msg_1"}

RESPONSES = [
    {"type": "response.created", "response": {**_RESPONSE, "status": "in_progress"}},
    {"type": "response.output_item.added", "output_index": 0,
     "item": {"id": "rs_1", "type": "reasoning", "summary": []}},
    {"type": "response.reasoning_summary_part.added", "output_index": 0, "item_id": "rs_1",
     "summary_index": 0, "part": {"type": "summary_text", "text": ""}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 0, "item_id": "rs_1",
     "summary_index": 0, "delta": "Think"},
    {"type": "response.output_item.done", "output_index": 0,
     "item": {"id": "rs_1", "type": "reasoning",
              "summary": [{"type": "summary_text", "text": "Think"}]}},
    {"type": "response.output_item.added", "output_index": 1,
     "item": {**_MESSAGE, "status": "in_progress", "content": []}},
    {"type": "response.content_part.added", **_AT, "part": _TEXT},
    {"type": "response.output_text.delta", **_AT, "delta": "Hel", "logprobs": []},
    {"type": "response.output_text.delta", **_AT, "delta": "lo\n[DONE]\u2028 🦜", "logprobs": []},
    {"type": "response.output_text.done", **_AT, "text": "Hello", "logprobs": []},
    {"type": "response.content_part.done", **_AT, "part": {**_TEXT, "text": "Hello"}},
    {"type": "response.output_item.done", "output_index": 1,
     "item": {**_MESSAGE, "status": "completed", "content": [{**_TEXT, "text": "Hello"}]}},
    {"type": "response.output_item.added", "output_index": 2,
     "item": {**_CALL, "arguments": "", "status": "in_progress"}},
    {"type": "response.function_call_arguments.delta", "output_index": 2, "item_id": "fc_1",
     "delta": ARGUMENTS},
    {"type": "response.function_call_arguments.done", "output_index": 2, "item_id": "fc_1",
     "name": "weather", "arguments": ARGUMENTS},
    {"type": "response.output_item.done", "output_index": 2,
     "item": {**_CALL, "arguments": ARGUMENTS, "status": "completed"}},
    {"type": "response.completed", "response": {**_RESPONSE, "status": "completed", "usage": {
        "input_tokens": 9, "output_tokens": 4, "total_tokens": 13,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0}}}},
]  # fmt: skip
for _number, _event in enumerate(RESPONSES):
    _event["sequence_number"] = _number

ANTHROPIC = [
    {"type": "message_start", "message": {
        "id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [],
        "stop_reason": None, "stop_sequence": None,
        "usage": {"input_tokens": 9, "output_tokens": 1}}},
    {"type": "content_block_start", "index": 0,
     "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "thinking_delta", "thinking": "Think"}},
    {"type": "content_block_delta", "index": 0,
     "delta": {"type": "signature_delta", "signature": "abc"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "ping"},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "Hel"}},
    {"type": "content_block_delta", "index": 1,
     "delta": {"type": "text_delta", "text": "lo\n[DONE]\u2028 🦜"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2,
     "content_block": {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}}},
    {"type": "content_block_delta", "index": 2,
     "delta": {"type": "input_json_delta", "partial_json": '{"city":'}},
    {"type": "content_block_delta", "index": 2,
     "delta": {"type": "input_json_delta", "partial_json": '"Århus"}'}},
    {"type": "content_block_stop", "index": 2},
    {"type": "message_delta", "delta": {"stop_reason": "tool_use", "stop_sequence": None},
     "usage": {"output_tokens": 4}},
    {"type": "message_stop"},
]  # fmt: skip

WHOLE = {"/v1/chat/completions": CHAT, "/v1/responses": RESPONSES, "/v1/messages": ANTHROPIC}


def encoded(event):
    name = f"event: {event['type']}\n" if "type" in event else ""
    return f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n".encode()


class Body(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A response's body: some events, then its end or a wait, and whether it was closed."""

    def __init__(self, events, *, before_end=None):
        self.events = events
        self.before_end = before_end
        self.closed = False

    def __iter__(self):
        for event in self.events:
            yield encoded(event)
        if self.before_end is not None:
            self.before_end()

    async def __aiter__(self):
        for event in self.events:
            yield encoded(event)
        if self.before_end is not None:
            await self.before_end()

    def close(self):
        self.closed = True

    async def aclose(self):
        self.closed = True


class Upstream:
    """Answers each request of an SDK's client with a recorded stream, or with the start of it."""

    def __init__(self, *, events=None, cut=None, before_end=None):
        self.events = events
        self.cut = cut
        self.before_end = before_end
        self.bodies = []

    def answer(self, request):
        whole = WHOLE[request.url.path] if self.events is None else self.events
        self.bodies.append(Body(whole[: self.cut], before_end=self.before_end))
        headers = {"content-type": "text/event-stream"}
        return httpx2.Response(200, headers=headers, stream=self.bodies[-1])

    def client(self, name):
        """Return a client of the SDK's class of this name that talks to this upstream."""
        http = httpx2.AsyncClient if "Async" in name else httpx2.Client
        transport = httpx2.MockTransport(self.answer)
        address = "http://up" if "nthropic" in name else "http://up/v1"
        kind = getattr(anthropic if "nthropic" in name else openai, name)
        return kind(
            api_key="x", base_url=address, max_retries=0, http_client=http(transport=transport)
        )

    @property
    def is_closed(self):
        return bool(self.bodies) and all(body.closed for body in self.bodies)
