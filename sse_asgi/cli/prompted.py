"""An ASGI app that reads a prompt from the request, then streams the answer."""

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

from sse_asgi.app import EventStream
from sse_asgi.asgi import Message, Receive, Scope, Send
from sse_asgi.cli.function import REQUIRED, Fitted

_LARGEST_BODY = 1_048_576
_REMEDY = 'add ?prompt=... to the URL, or send a JSON body {"prompt": "..."}'


class _RefusedError(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class PromptedStream:
    """Serve a function that takes a prompt, as an event stream at every path.

    The prompt is the query parameter `prompt`, or else the string of that name in a JSON body.
    A request without a prompt that the function requires is answered with status 400, a body
    that holds none as well; HEAD needs no prompt. The settings are options of `EventStream`.
    """

    def __init__(self, function: Fitted, settings: Mapping[str, Any]) -> None:
        self._function = function
        self._settings = settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        prompt: object = None
        messages: list[Message] = []
        try:
            if scope["type"] == "http" and scope["method"] != "HEAD":
                prompt = await self._read_prompt(scope, receive, messages)
        except _RefusedError as error:
            return await _refuse(send, error)
        if messages and messages[-1]["type"] == "http.disconnect":
            return None  # the client left before it had sent all of its body

        async def replay() -> Message:
            return messages.pop(0) if messages else await receive()

        stream = EventStream(lambda request: self._function.call(request, prompt), **self._settings)
        return await stream(scope, replay, send)

    async def _read_prompt(self, scope: Scope, receive: Receive, messages: list[Message]) -> object:
        query = parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        if "prompt" in query:
            return query["prompt"][0]
        size, more = 0, True
        while more:
            messages.append(await receive())
            size += len(messages[-1].get("body", b""))
            more = messages[-1].get("more_body", False)
            if size > _LARGEST_BODY:
                raise _RefusedError(413, f"the body is larger than {_LARGEST_BODY} bytes")
        if messages[-1]["type"] == "http.disconnect":
            return None
        prompt = _prompt_in(b"".join(message.get("body", b"") for message in messages))
        if prompt is None and self._function.default is REQUIRED:
            raise _RefusedError(400, f"missing prompt: {_REMEDY}")
        return self._function.default if prompt is None else prompt


def _prompt_in(content: bytes) -> str | None:
    try:
        prompt: object = json.loads(content)["prompt"] if content else None
    except (KeyError, TypeError):  # other JSON
        return None
    except (ValueError, RecursionError) as error:
        raise _RefusedError(400, f"the body is no JSON: {_REMEDY}") from error
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
