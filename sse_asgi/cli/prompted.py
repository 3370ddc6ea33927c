"""An ASGI app that reads a prompt from the request, then streams the answer."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.cli.function import REQUIRED, FittedFunction

_LARGEST_BODY = 1_048_576
_REMEDY = 'add ?prompt=... to the URL, or send a JSON body {"prompt": "..."}'


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _GoneError(Exception):
    """The client left before it had sent all of its body."""


class PromptedStream:
    """Serve a function that takes a prompt, as an event stream at every path.

    The prompt is the query parameter `prompt`, or else the string of that name in a JSON body.
    A request without a prompt that the function requires is answered with status 400, a body
    that holds none as well; HEAD needs no prompt.

    Args:
        function: The function, with a parameter `prompt`.
        settings: Options of `EventStream`.
    """

    def __init__(self, function: FittedFunction, settings: Mapping[str, Any]) -> None:
        self._function = function
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        body = _Body(receive)
        prompt: object = None
        try:
            if scope["type"] == "http" and scope["method"] != "HEAD":
                prompt = await self._read_prompt(scope, body)
        except _RefusedError as error:
            return await _refuse(send, error)
        except _GoneError:
            return None
        stream = EventStream(lambda request: self._function.call(request, prompt), **self._settings)
        return await stream(scope, body.replay, send)

    async def _read_prompt(self, scope: Scope, body: "_Body") -> object:
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        for name, value in query:
            if name == "prompt":
                return value
        content = await body.read() if _has_body(scope) else b""
        prompt = _prompt_in(content) if content else None
        if prompt is not None:
            return prompt
        if self._function.default is REQUIRED:
            raise _RefusedError(400, f"missing prompt: {_REMEDY}")
        return self._function.default


class _Body:
    """The body, read before the stream begins, and given to the stream again."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._messages: list[Message] = []

    async def read(self) -> bytes:
        content = bytearray()
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _GoneError
            self._messages.append(message)
            content += message.get("body", b"")
            if len(content) > _LARGEST_BODY:
                raise _RefusedError(413, f"the body is larger than {_LARGEST_BODY} bytes")
            if not message.get("more_body", False):
                return bytes(content)

    async def replay(self) -> Message:
        return self._messages.pop(0) if self._messages else await self._receive()


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _prompt_in(content: bytes) -> str | None:
    try:
        prompt: object = json.loads(content)["prompt"]
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"the body is no JSON: {_REMEDY}") from error
    except (KeyError, TypeError):  # other JSON
        return None
    if prompt is not None and not isinstance(prompt, str):
        raise _RefusedError(400, f"the prompt is no string: {_REMEDY}")
    return prompt


async def _refuse(send: Send, error: _RefusedError) -> None:
    body = f"{error}\n".encode()
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
