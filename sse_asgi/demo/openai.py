"""Answers from any endpoint that speaks OpenAI's chat completions."""

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, cast

import httpx

from sse_asgi import (
    EventStreamDecoder,
    Finish,
    FramingError,
    IncompleteStreamError,
    MessageEvent,
    StreamFailedError,
)
from sse_asgi.dialects import ChatCompletions
from sse_asgi.errors import SSEError
from sse_asgi.wire.framing import Decode, Item, items_of

_TIMEOUT = httpx.Timeout(30.0, read=300.0)  # a local model may load for minutes before it speaks
_LONGEST_REASON = 300


class EndpointError(SSEError):
    """The endpoint cannot be reached, refused, or broke off; the message says which and where."""


class OpenAIEndpoint:
    """A chat model behind an OpenAI-compatible API.

    Args:
        base_url: The URL that `/chat/completions` is appended to, as in
            `https://api.openai.com/v1` or `http://localhost:11434/v1`.
        api_key: Sent as a bearer token; `None` sends none.
        model: The model's id. `None` takes the endpoint's only model.

    Raises:
        ValueError: If `base_url` is no http or https URL.
    """

    def __init__(
        self, base_url: str, *, api_key: str | None = None, model: str | None = None
    ) -> None:
        url = _checked(base_url)
        self._base_url = str(url).rstrip("/")
        self._shown = str(url.copy_with(userinfo=b"", query=None)).rstrip("/")  # no passwords
        self._host = url.netloc.decode()
        self._headers = {"authorization": f"Bearer {api_key}"} if api_key else {}
        self._model = model

    @property
    def name(self) -> str:
        """The model and where it runs."""
        return f"{self._model or 'the model'} at {self._host}"

    @property
    def is_repeatable(self) -> bool:
        """Models answer anew each time."""
        return False

    @property
    def detail(self) -> str:
        """What this source is."""
        return "An OpenAI-compatible endpoint, named by OPENAI_BASE_URL."

    async def answer(
        self,
        prompt: str,
        *,
        seed: int | None = None,  # noqa: ARG002 - endpoints do not promise to heed one
    ) -> AsyncGenerator[str]:
        """Yield the model's answer to one user message, as its deltas arrive.

        The connection to the endpoint is closed when the iteration ends, however it ends.

        Raises:
            EndpointError: If the endpoint cannot be reached, answers with an error, or ends
                before the answer is complete.
        """
        async with self._connected() as client:
            self._model = self._model or await self._only_model(client)
            question = {
                "model": self._model,
                "messages": [{"role": "user", "content": prompt}],
                "stream": True,
            }
            url = f"{self._base_url}/chat/completions"
            async with client.stream("POST", url, json=question) as response:
                await self._check(response)
                async with aclosing(self._deltas(response)) as deltas:
                    async for delta in deltas:
                        yield delta

    @asynccontextmanager
    async def _connected(self) -> AsyncGenerator[httpx.AsyncClient]:
        try:
            async with httpx.AsyncClient(headers=self._headers, timeout=_TIMEOUT) as client:
                yield client
        except httpx.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise EndpointError(f"{self._shown} did not answer: {reason}") from error

    async def _only_model(self, client: httpx.AsyncClient) -> str:
        response = await client.get(f"{self._base_url}/models")
        await self._check(response)
        try:
            models = [str(model["id"]) for model in response.json()["data"]]
        except (ValueError, TypeError, KeyError) as error:
            raise EndpointError(f"{self._shown} lists no models: set OPENAI_MODEL") from error
        if len(models) != 1:
            some = ", ".join(models[:8]) or "none is listed"
            raise EndpointError(
                f"{self._shown} has {len(models)} models: set OPENAI_MODEL to one of them ({some})"
            )
        return models[0]

    async def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        reason = (
            _reason((await response.aread()).decode(errors="replace")) or response.reason_phrase
        )
        raise EndpointError(f"{self._shown} answered {response.status_code}: {reason}")

    async def _deltas(self, response: httpx.Response) -> AsyncGenerator[str]:
        events = EventStreamDecoder()
        decode = ChatCompletions(self._model or "any").decoder()
        finished = False
        body = cast("AsyncGenerator[bytes]", response.aiter_bytes())  # typed as less than it is
        async with aclosing(body):
            async for data in body:
                for event in events.feed(data):
                    for item in self._items(decode, event):
                        if item is None:
                            return
                        finished = finished or isinstance(item, Finish)
                        if item and isinstance(item, str):
                            yield item
        if not finished:  # some endpoints leave the end marker out
            raise self._cut_short()

    def _items(self, decode: Decode, event: MessageEvent) -> tuple[Item, ...]:
        try:
            return items_of(decode(event))
        except StreamFailedError as error:
            raise EndpointError(f"{self._shown} failed: {_one_line(error.message)}") from error
        except IncompleteStreamError as error:
            raise self._cut_short() from error
        except FramingError as error:
            raise EndpointError(
                f"{self._shown} sent what is no completion chunk: is it OpenAI-compatible?"
            ) from error

    def _cut_short(self) -> EndpointError:
        return EndpointError(f"{self._shown} ended before the answer was complete")


def _checked(base_url: str) -> httpx.URL:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise ValueError(f"OPENAI_BASE_URL is {base_url!r}: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            f"OPENAI_BASE_URL is {base_url!r}: it must be a URL such as http://localhost:11434/v1"
        )
    return url


def _reason(text: str) -> str:
    """What the body of an error says, in one short line."""
    with suppress(ValueError, TypeError, KeyError, RecursionError):
        error: Any = json.loads(text)["error"]
        text = error if isinstance(error, str) else error["message"]
    return _one_line(text)


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:_LONGEST_REASON]
