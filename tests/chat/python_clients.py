"""The official Python clients, each asked once, and what each has understood.

Every function takes a client of its SDK and the message, and fills in what was said.
"""

import contextlib
import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field

import anthropic
import openai


@dataclass
class Said:
    text: str = ""
    reasoning: str = ""
    calls: list = field(default_factory=list)
    usage: dict | None = None
    finish: str | None = None
    error: dict | None = None

    def count(self, used, made):
        self.usage = {"input": used, "output": made}

    def call(self, id_, name, arguments):
        self.calls.append({"id": id_, "name": name, "arguments": arguments})


def _chat(message):
    return {"model": "mine", "messages": [{"role": "user", "content": message}]}


def _streamed_chat(message):
    return _chat(message) | {"stream_options": {"include_usage": True}}


def _thread(message):
    return _chat(message) | {"max_tokens": 100}


def _read_completion(said, completion):
    [choice] = completion.choices
    said.text = choice.message.content or ""
    said.reasoning = getattr(choice.message, "reasoning_content", None) or ""
    for call in choice.message.tool_calls or ():
        said.call(call.id, call.function.name, call.function.arguments)
    said.finish = choice.finish_reason
    if completion.usage:
        said.count(completion.usage.prompt_tokens, completion.usage.completion_tokens)


def _read_response(said, response):
    said.text = response.output_text
    for item in response.output:
        if item.type == "reasoning":
            said.reasoning += "".join(part.text for part in item.summary)
        if item.type == "function_call":
            said.call(item.call_id, item.name, item.arguments)
    said.finish = response.status
    if response.usage:
        said.count(response.usage.input_tokens, response.usage.output_tokens)


def _read_message(said, message):
    for block in message.content:
        if block.type == "text":
            said.text += block.text
        if block.type == "thinking":
            said.reasoning += block.thinking
        if block.type == "tool_use":
            said.call(block.id, block.name, json.dumps(block.input))
    said.finish = message.stop_reason
    said.count(message.usage.input_tokens, message.usage.output_tokens)


def openai_chat(client, message, said):
    for chunk in client.chat.completions.create(**_streamed_chat(message), stream=True):
        for choice in chunk.choices:
            said.text += choice.delta.content or ""
            said.reasoning += getattr(choice.delta, "reasoning_content", None) or ""
            for call in choice.delta.tool_calls or ():
                said.call(call.id, call.function.name, call.function.arguments)
            said.finish = choice.finish_reason or said.finish
        if chunk.usage:
            said.count(chunk.usage.prompt_tokens, chunk.usage.completion_tokens)


def openai_chat_helper(client, message, said):
    with client.chat.completions.stream(**_streamed_chat(message)) as stream:
        for event in stream:
            if event.type == "content.delta":
                said.text += event.delta
        text = said.text
        _read_completion(said, stream.get_final_completion())
        assert said.text == text


def openai_chat_whole(client, message, said):
    _read_completion(said, client.chat.completions.create(**_chat(message)))


def openai_responses(client, message, said):
    text = ""
    for event in client.responses.create(model="mine", input=message, stream=True):
        if event.type == "response.output_text.delta":
            text += event.delta
            said.text = text
        if event.type == "response.completed":
            _read_response(said, event.response)
            assert said.text == text


def openai_responses_helper(client, message, said):
    with client.responses.stream(model="mine", input=message) as stream:
        for event in stream:
            if event.type == "response.output_text.delta":
                said.text += event.delta
        text = said.text
        _read_response(said, stream.get_final_response())
        assert said.text == text


def openai_responses_whole(client, message, said):
    _read_response(said, client.responses.create(model="mine", input=message))


def anthropic_messages(client, message, said):
    for event in client.messages.create(**_thread(message), stream=True):
        if event.type == "content_block_start" and event.content_block.type == "tool_use":
            said.call(event.content_block.id, event.content_block.name, "")
        if event.type == "content_block_delta":
            said.text += getattr(event.delta, "text", "")
            said.reasoning += getattr(event.delta, "thinking", "")
            if event.delta.type == "input_json_delta":
                said.calls[-1]["arguments"] += event.delta.partial_json
        if event.type == "message_delta":
            said.finish = event.delta.stop_reason
            said.count(event.usage.input_tokens, event.usage.output_tokens)


def anthropic_helper(client, message, said):
    with client.messages.stream(**_thread(message)) as stream:
        for text in stream.text_stream:
            said.text += text
        text, said.text = said.text, ""
        _read_message(said, stream.get_final_message())
        assert said.text == text


def anthropic_whole(client, message, said):
    _read_message(said, client.messages.create(**_thread(message)))


CLIENTS = {
    "openai, `chat.completions.create(stream=True)`": openai_chat,
    "openai, `chat.completions.stream`": openai_chat_helper,
    "openai, `chat.completions.create`": openai_chat_whole,
    "openai, `responses.create(stream=True)`": openai_responses,
    "openai, `responses.stream`": openai_responses_helper,
    "openai, `responses.create`": openai_responses_whole,
    "anthropic, `messages.create(stream=True)`": anthropic_messages,
    "anthropic, `messages.stream`": anthropic_helper,
    "anthropic, `messages.create`": anthropic_whole,
}
STREAMS = [name for name in CLIENTS if "create`" not in name]


def client_of(name, url, *, key="x", retries=0):
    """Return a fresh client of the SDK that a name begins with."""
    if name.startswith("openai"):
        return openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=retries)
    return anthropic.Anthropic(
        base_url=url,
        api_key=key,
        max_retries=retries,
        default_headers={"authorization": f"Bearer {key}"},
    )


def ask(name, url, message, **options):
    """Ask as one client does; return what it has understood."""
    said = Said()
    with client_of(name, url, **options) as client:
        try:
            CLIENTS[name](client, message, said)
        except Exception as error:
            status = getattr(error, "status_code", None)
            said.error = {"name": type(error).__name__, "message": str(error), "status": status}
            said.error["code"] = getattr(error, "code", None)
    return asdict(said)


def pool(names):
    """Return threads for so many clients at once."""
    return ThreadPoolExecutor(len(names))


def ask_all(names, url, message):
    """Ask as several clients do, all at once."""
    with pool(names) as threads:
        answers = threads.map(lambda name: ask(name, url, message), names)
        return dict(zip(names, answers, strict=True))


class _LeftError(Exception):
    """Raised where a client leaves."""


class _Leaver(Said):
    """What was said, until the client leaves at the first text."""

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "text" and value:
            raise _LeftError


def leave(name, url, message):
    """Ask as one client does, and leave when the first text has come; return when that was."""
    left = 0.0
    with client_of(name, url) as client, contextlib.suppress(_LeftError):
        try:
            CLIENTS[name](client, message, _Leaver())
        finally:
            left = time.monotonic()
        raise AssertionError(f"{name} came to an end")
    return left
