"""Every kind of source becomes one async iterator, stepped and closed in one place."""

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from types import AsyncGeneratorType
from typing import Any, cast

import anyio

from sse_asgi.errors import SourceSpentError
from sse_asgi.stream.request import Request
from sse_asgi.stream.thread import ThreadedIterator
from sse_asgi.wire.events import ServerSentEvent

Chunk = str | ServerSentEvent | None
Chunks = AsyncIterable[Chunk] | Iterable[Chunk]
Source = Chunks | Callable[[Request], Chunks | Awaitable[Chunks]]

_REMEDY = "pass an async or sync iterable of strings, or a callable that takes a Request"


class SourceOpener:
    """What a user passed as `source`, checked once; `open` starts it for one response.

    Raises:
        TypeError: It is neither an iterable of chunks nor a callable for one request.
    """

    __slots__ = ("_is_callable", "_is_iterator", "_source", "_spent")

    def __init__(self, source: Source) -> None:
        self._source: Source = source
        self._is_callable = not is_iterable(source)
        if self._is_callable:
            _check_callable(source)
        self._is_iterator = isinstance(source, AsyncIterator) or hasattr(source, "__next__")
        self._spent = False

    def claim(self) -> None:
        """Reserve the source for one response.

        Raises:
            SourceSpentError: It is an iterator, and another response has it.
        """
        if self._spent:
            raise SourceSpentError(
                f"the source is {_a(self._source)} and has served its one response; pass the "
                "function that makes it, so that each request gets its own"
            )
        self._spent = self._is_iterator

    async def open(self, request: Request) -> AsyncIterator[Chunk]:
        """Return the iterator of chunks for this request; a callable is called now."""
        chunks: Any = self._source
        if self._is_callable:
            chunks = chunks(request)
            if isinstance(chunks, AsyncGeneratorType):  # as nearly always
                return cast("AsyncIterator[Chunk]", chunks)
            if inspect.isawaitable(chunks):
                chunks = await chunks
            if not is_iterable(chunks, "what the source returned is"):
                raise TypeError(
                    f"the source returned a value {_a(chunks)} instead of an iterable of strings; "
                    "does its function lack a `yield`?"
                )
        if isinstance(chunks, AsyncIterable):
            return aiter(cast("AsyncIterable[Chunk]", chunks))
        return ThreadedIterator(cast("Iterable[Chunk]", chunks))


Step = Callable[[], Awaitable[Chunk]]
"""What gives the next chunk, or raises `StopAsyncIteration` at the end, as `__anext__` does."""


class Interruption:
    """The step in which a source learns that it was cancelled while it stood at a `yield`.

    Its own timeouts and task groups run on while others have its chunk, and cancel the task that
    waits in a hook then. The source can tell whether it is theirs; whoever waits cannot. What is
    no generator cannot be told: it fails with the cancellation.
    """

    __slots__ = ("_error", "_source")

    def __init__(self, source: AsyncIterator[Chunk], error: BaseException) -> None:
        self._source = source
        self._error: BaseException | None = error

    async def __call__(self) -> Chunk:
        """Raise the cancellation where the source stands, and return the chunk that it gives."""
        error, self._error = cast("BaseException", self._error), None
        athrow = getattr(self._source, "athrow", None)
        try:
            if athrow is None:
                raise error
            chunk: Chunk = await athrow(error)
            return chunk
        finally:
            del error  # its traceback holds this frame


async def wait_at_yield(
    source: AsyncIterator[Chunk], awaitable: Awaitable[object], is_for_source: Callable[[], bool]
) -> Step | None:
    """Wait while a source stands at a `yield`.

    If that is cancelled, and `is_for_source` says that this is not the end of the source, its next
    step is returned: the one in which it learns of that.
    """
    try:
        await awaitable
    except anyio.get_cancelled_exc_class() as error:
        if not is_for_source():
            raise
        return Interruption(source, error)
    return None


async def tell_at_yield(
    source: AsyncIterator[Chunk],
    hook: Callable[[str], object],
    chunk: str,
    is_for_source: Callable[[], bool],
) -> Step | None:
    """Give a chunk to a hook, sync or async, and wait for that as in `wait_at_yield`."""
    told = hook(chunk)
    if told is None or not inspect.isawaitable(told):
        return None
    return await wait_at_yield(source, told, is_for_source)


async def close(iterator: AsyncIterator[Chunk]) -> None:
    """Close an iterator as `async for` does not: now, in this task, not at collection."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()


def is_iterable(value: object, it_is: str = "the source is") -> bool:
    """Tell whether this is an iterable of chunks; `it_is` begins what is said of one that is none.

    Raises:
        TypeError: It is one string, which would be streamed letter by letter; or something that
            can be iterated, but that nobody means to stream.
    """
    if isinstance(value, (str, bytes, bytearray, memoryview, ServerSentEvent)):
        raise TypeError(f"{it_is} {_a(value)}, not an iterable of strings; wrap it: [value]")
    if isinstance(value, AsyncIterable):
        return True
    if not isinstance(value, Iterable):
        return False
    if isinstance(value, Mapping):
        raise TypeError(
            f"{it_is} {_a(value)}, of which the keys alone would be streamed; pass its "
            "values(), or encode it: [json.dumps(value)]"
        )
    if isinstance(value, (set, frozenset)):
        raise TypeError(f"{it_is} {_a(value)}, which has no order; pass a list of its chunks")
    if isinstance(value, type):  # an Enum's members can be iterated
        raise TypeError(f"{it_is} the class {value.__qualname__}; pass a list of its chunks")
    return True


def _check_callable(source: object) -> None:
    if inspect.iscoroutine(source):
        source.close()
        raise TypeError("the source is a coroutine; pass the async function itself, not its call")
    if not callable(source):
        raise TypeError(f"the source is {_a(source)}; {_REMEDY}")
    if isinstance(source, type) and not _makes_iterables(source):
        raise TypeError(
            f"the source is the class {source.__qualname__}, whose instances are no iterables of "
            f"strings; {_REMEDY}"
        )
    # Not its repr: that of a partial shows its arguments, which may be the text of users.
    name: str = getattr(source, "__qualname__", type(source).__qualname__)
    check_takes_one(
        source, f"the source {name}", "a Request", otherwise=", or pass what it returns"
    )


def _makes_iterables(kind: type) -> bool:
    refused = (str, bytes, bytearray, memoryview, ServerSentEvent, Mapping, set, frozenset)
    return issubclass(kind, (AsyncIterable, Iterable)) and not issubclass(kind, refused)


def check_takes_one(
    function: Callable[..., object], name: str, argument: str, *, otherwise: str = ""
) -> None:
    """Check that a function of the user's can be called with one argument.

    Raises:
        TypeError: It cannot.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell: the call will
        return
    try:
        signature.bind(None)
    except TypeError as error:
        raise TypeError(
            f"{name} cannot be called with one argument, {argument}: {error}; give it a parameter "
            f"for that{otherwise}"
        ) from None


def _a(value: Any) -> str:  # noqa: ANN401 - whatever the user passed
    return f"of type {type(value).__qualname__}"
