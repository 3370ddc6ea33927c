"""Ask a chat app by raw ASGI, and requests of every dialect that ask for the same."""

import json
from dataclasses import dataclass
from urllib.parse import unquote

import anyio

MESSAGES = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
UI_MESSAGES = [{"id": "m1", "role": "user", "parts": [{"type": "text", "text": "Hi"}]}]

CHAT = "/v1/chat/completions"
RESPONSES = "/v1/responses"
ANTHROPIC = "/v1/messages"
AI_SDK = "/ai-sdk"
AG_UI = "/ag-ui"

BODIES = {
    CHAT: {"model": "mine", "messages": MESSAGES},
    RESPONSES: {"model": "mine", "input": "Hi"},
    ANTHROPIC: {"model": "mine", "max_tokens": 9, "messages": MESSAGES[1:]},
    AI_SDK: {"id": "chat-1", "messages": UI_MESSAGES, "trigger": "submit-message"},
    AG_UI: {"threadId": "t", "runId": "r", "messages": [{"id": "1", **MESSAGES[1]}],
            "tools": [], "context": [], "state": {}, "forwardedProps": {}},
}  # fmt: skip
"""A request of each dialect, without `stream`."""

WHOLE = (CHAT, RESPONSES, ANTHROPIC)
"""The addresses that also answer with one object."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def text(self):
        return self.body.decode()

    @property
    def events(self):
        """The data of a stream's events, without `[DONE]`."""
        data = [line[6:] for line in self.text.split("\n") if line.startswith("data: ")]
        return [json.loads(each) for each in data if each != "[DONE]"]


class Client:
    """One raw ASGI connection."""

    def __init__(self, app, path, body=None, *, method="POST", headers=None, root_path=""):
        self.app = app
        raw = (
            body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        )
        self.messages = [{"type": "http.request", "body": raw, "more_body": False}]
        self.scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": unquote(path.partition("?")[0]),
            "raw_path": path.partition("?")[0].encode(),
            "root_path": root_path,
            "query_string": path.partition("?")[2].encode(),
            "headers": [(k.encode(), v.encode()) for k, v in (headers or {}).items()],
        }
        self.sent = []
        self.has_sent = anyio.Event()
        self.leaves = anyio.Event()

    async def receive(self):
        if self.messages:
            return self.messages.pop(0)
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        self.sent.append(message)
        self.has_sent.set()

    async def run(self):
        await self.app(self.scope, self.receive, self.send)

    @property
    def answer(self):
        start, *parts = self.sent
        headers = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
        return Answer(start["status"], headers, b"".join(part["body"] for part in parts))


async def ask(app, path, body=None, **options):
    client = Client(app, path, body, **options)
    with anyio.fail_after(10):
        await client.run()
    return client.answer


def error_of(path, answer):
    """Return the message of an error, read in the dialect's shape."""
    if path == AI_SDK:
        assert answer.headers["content-type"].startswith("text/plain")
        return answer.text
    if path == AG_UI:
        assert answer.json["type"] == "RUN_ERROR"
        return answer.json["message"]
    if path == ANTHROPIC:
        assert answer.json["type"] == "error"
    assert isinstance(answer.json["error"]["type"], str)
    return answer.json["error"]["message"]
