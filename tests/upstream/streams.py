"""Every way to get a stream from an SDK: its name, its client's class, and the call."""

from sse_asgi import Finish, Reasoning, ToolCall, Usage
from sse_asgi.upstream import from_anthropic, from_openai
from tests.upstream.recorded import ANTHROPIC, ARGUMENTS, CHAT, RESPONSES

CONTENT = [{"role": "user", "content": "Hi"}]

ANSWER = [
    Reasoning("Think"),
    "Hel",
    "lo\n[DONE]\u2028 🦜",
    ToolCall("weather", ARGUMENTS, "call_1"),
    Usage(9, 4),
    Finish("tool_calls"),
]


class Way:
    """One call of one SDK, and what reads the stream that it returns."""

    def __init__(self, name, client, read, events, terminal, call):
        self.name = name
        self.client = client
        self.read = read
        self.events = events
        self.terminal = terminal  # events that must have come
        self.call = call

    def __repr__(self):
        return self.name

    def open(self, upstream):
        return self.read(self.call(upstream.client(self.client)))


def _ways(library, name, read, events, terminal, call):
    return (
        Way(f"{name}-sync", library, read, events, terminal, call),
        Way(f"{name}-async", f"Async{library}", read, events, terminal, call),
    )


def _chat(client):
    return client.chat.completions.create(model="m", messages=CONTENT, stream=True)


def _chat_helper(client):
    return client.chat.completions.stream(model="m", messages=CONTENT)


def _responses(client):
    return client.responses.create(model="m", input="Hi", stream=True)


def _responses_helper(client):
    return client.responses.stream(model="m", input="Hi")


def _messages(client):
    return client.messages.create(model="m", max_tokens=9, messages=CONTENT, stream=True)


def _messages_helper(client):
    return client.messages.stream(model="m", max_tokens=9, messages=CONTENT)


WAYS = [
    *_ways("OpenAI", "chat-create", from_openai, CHAT, 8, _chat),
    *_ways("OpenAI", "chat-stream", from_openai, CHAT, 8, _chat_helper),
    *_ways("OpenAI", "responses-create", from_openai, RESPONSES, 17, _responses),
    *_ways("OpenAI", "responses-stream", from_openai, RESPONSES, 17, _responses_helper),
    *_ways("Anthropic", "messages-create", from_anthropic, ANTHROPIC, 16, _messages),
    *_ways("Anthropic", "messages-stream", from_anthropic, ANTHROPIC, 16, _messages_helper),
]
SYNC = [way for way in WAYS if "Async" not in way.client]
ASYNC = [way for way in WAYS if "Async" in way.client]
