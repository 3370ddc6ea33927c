"""The streams of model SDKs as sources of text and parts. No cut answer passes for a whole one.

No SDK is imported: the streams are read by their attributes.
"""

from collections.abc import AsyncIterable, Awaitable, Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any, TypeAlias, overload

from sse_asgi.errors import UpstreamFailedError, UpstreamTruncatedError
from sse_asgi.upstream.anthropic import AnthropicReader
from sse_asgi.upstream.openai import OpenAIReader
from sse_asgi.upstream.pydantic_ai import PydanticAIReader
from sse_asgi.upstream.reader import Reader
from sse_asgi.upstream.stream import AsyncUpstream, SyncUpstream

__all__ = [
    "AsyncUpstream",
    "SyncUpstream",
    "UpstreamFailedError",
    "UpstreamTruncatedError",
    "from_anthropic",
    "from_openai",
    "from_pydantic_ai",
]

AsyncStream: TypeAlias = (
    AsyncIterable[Any] | AbstractAsyncContextManager[Any] | Awaitable[AsyncIterable[Any]]
)
SyncStream: TypeAlias = Iterable[Any] | AbstractContextManager[Any]


@overload
def from_openai(stream: AsyncStream) -> AsyncUpstream: ...
@overload
def from_openai(stream: SyncStream) -> SyncUpstream: ...
def from_openai(stream: object) -> AsyncUpstream | SyncUpstream:
    """Read a stream of the openai package: of chat completions, or of responses.

    Args:
        stream: What `create(…, stream=True)` or `.stream(…)` returns, awaited or not, entered or
            not; of the sync client or the async one.

    Returns:
        An async iterator of text and parts; for a stream of the sync client one that is a sync
        iterator, too. It closes the stream when it ends, is cancelled or is closed. It raises
        `UpstreamTruncatedError` where the stream ends without a finish reason (chat completions)
        or a final event (responses), and `UpstreamFailedError` where the upstream says that it
        failed.
        What the package itself raises passes through.

    Raises:
        TypeError: `stream` is no stream.
    """
    return _upstream("from_openai", stream, OpenAIReader())


@overload
def from_anthropic(stream: AsyncStream) -> AsyncUpstream: ...
@overload
def from_anthropic(stream: SyncStream) -> SyncUpstream: ...
def from_anthropic(stream: object) -> AsyncUpstream | SyncUpstream:
    """Read a stream of the anthropic package.

    Args:
        stream: What `messages.create(…, stream=True)` or `messages.stream(…)` returns, awaited or
            not, entered or not; of the sync client or the async one.

    Returns:
        An iterator as of `from_openai`. It raises `UpstreamTruncatedError` where the stream ends
        without `message_stop`.

    Raises:
        TypeError: `stream` is no stream.
    """
    return _upstream("from_anthropic", stream, AnthropicReader())


@overload
def from_pydantic_ai(stream: AsyncStream) -> AsyncUpstream: ...
@overload
def from_pydantic_ai(stream: SyncStream) -> SyncUpstream: ...
def from_pydantic_ai(stream: object) -> AsyncUpstream | SyncUpstream:
    """Read a stream of Pydantic AI.

    Args:
        stream: What `agent.run_stream_events(…)`, `agent.run_stream(…)`, `node.stream(…)` or
            `direct.model_request_stream(…)` returns, entered or not; or `agent.run_stream_sync(…)`.

    Returns:
        An iterator as of `from_openai`. Tool calls come through, also those that the agent itself
        has answered. It raises `UpstreamTruncatedError` where the run has no result, and where a
        model that is reached over a network gave no finish reason.

    Raises:
        TypeError: `stream` is no stream.
    """
    return _upstream("from_pydantic_ai", stream, PydanticAIReader())


def _upstream(function: str, stream: object, reader: Reader) -> AsyncUpstream | SyncUpstream:
    if _is_async(stream):
        return AsyncUpstream(stream, reader)
    if _is_sync(stream):
        return SyncUpstream(stream, reader)
    raise TypeError(
        f"{function} takes the stream that the package returns, not a value of type "
        f"{type(stream).__qualname__}: was stream=True forgotten?"
    )


def _is_sync(stream: object) -> bool:
    is_iterable = hasattr(stream, "__iter__") or hasattr(stream, "__enter__")
    return is_iterable and not isinstance(stream, (str, bytes, dict))


def _is_async(stream: object) -> bool:
    names = ("__aiter__", "__aenter__", "__await__", "stream_response")
    return any(hasattr(stream, name) for name in names) and not hasattr(stream, "__enter__")
