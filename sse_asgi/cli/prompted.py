"""An event stream of a function, called for each request with what its parameters ask for."""

import inspect
from collections.abc import Mapping
from typing import Any

from starlette.responses import PlainTextResponse

from sse_asgi.app import EventStream
from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.source.request import Request

_PREFETCH = 1.0
"""Seconds in which a failure has a status of its own, as a prompt that is missing has."""
_MISSING = 'missing prompt: add ?prompt=... to the URL, or send a JSON body {"prompt": "..."}\n'


class _MissingPromptError(Exception):
    pass


class PromptedStream:
    """Serve an iterable or a function as an event stream, at every path.

    A parameter `prompt` gets the query parameter of that name, or else the string of that name in a
    JSON body; a request that has neither is answered with status 400 if the parameter has no
    default. A parameter `request`, or the only one whatever its name, gets the `Request`.

    Raises:
        TypeError: The function requires something else, or `EventStream` takes no such source.
    """

    def __init__(self, target: Any, settings: Mapping[str, Any]) -> None:  # noqa: ANN401 - the user's
        self._stream = EventStream(_source_of(target), prefetch=_PREFETCH, **settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection."""
        try:
            await self._stream(scope, receive, send)
        except _MissingPromptError:
            await PlainTextResponse(_MISSING, 400)(scope, receive, send)


def _source_of(target: Any) -> Any:  # noqa: ANN401 - whatever `EventStream` takes, or refuses
    try:
        signature = inspect.signature(target)
        names = signature.parameters.keys() & {"prompt", "request"}
        signature.bind(**dict.fromkeys(names))
    except (TypeError, ValueError):  # an iterable, or a function of one parameter of another name
        return target

    async def source(request: Request) -> Any:  # noqa: ANN401 - what the user's function returns
        values: dict[str, object] = {"request": request} if "request" in names else {}
        if "prompt" in names:
            values["prompt"] = await _prompt_of(request, signature.parameters["prompt"].default)
        chunks = target(**values)
        return await chunks if inspect.isawaitable(chunks) else chunks

    return source


async def _prompt_of(request: Request, default: object) -> object:
    if "prompt" in request.query_params:
        return request.query_params["prompt"]
    try:
        prompt = (await request.json())["prompt"]
    except (ValueError, KeyError, TypeError):  # no JSON, or other JSON
        prompt = None
    if isinstance(prompt, str):
        return prompt
    if default is inspect.Parameter.empty:
        raise _MissingPromptError
    return default
