"""Every kind of source becomes one async iterator, stepped and closed in one place."""

import inspect
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from itertools import chain
from types import AsyncGeneratorType
from typing import Any, Final, cast

import anyio

from sse_asgi.checks import check_takes
from sse_asgi.errors import SourceSpentError
from sse_asgi.source.request import Request
from sse_asgi.source.thread import ThreadedIterator
from sse_asgi.wire.events import ServerSentEvent
from sse_asgi.wire.parts import Part

Chunk = str | Part | ServerSentEvent | None
Chunks = AsyncIterable[Chunk] | Iterable[Chunk]
Source = Chunks | Callable[[Request], Chunks | Awaitable[Chunks]]

_REMEDY = "pass an async or sync iterable of strings, or a callable that takes a Request"
# What can be iterated, but not to stream it: one string would be streamed letter by letter.
_REFUSED: Final[dict[tuple[type, ...], str]] = {
    (str, bytes, bytearray, memoryview, ServerSentEvent): (
        ", not an iterable of strings; wrap it: [value]"
    ),
    (Mapping,): (
        ", of which the keys alone would be streamed; pass its values(), or encode it: "
        "[json.dumps(value)]"
    ),
    (set, frozenset): ", which has no order; pass a list of its chunks",
}


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
        """Reserve the source for one response; an iterator has no other."""
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


class Stepper:
    """Steps an open source, and tells it what has happened while it stood at a `yield`.

    A timeout or task group around a `yield` of the source may cancel the task while it awaits a
    hook. Only the source can tell whether a cancellation is its own, so it is raised there.
    """

    __slots__ = ("chunks", "told")

    def __init__(self, chunks: AsyncIterator[Any]) -> None:
        self.chunks: AsyncIterator[Any] = chunks
        self.told: BaseException | None = None  # what the next step raises at the `yield`

    @property
    def has_ended(self) -> bool:
        """Whether the source is a generator that has ended, so that there is nothing to close."""
        chunks = self.chunks
        return isinstance(chunks, AsyncGeneratorType) and chunks.ag_frame is None

    def learn(self) -> Awaitable[Any]:
        """Raise at the `yield` what it is to learn; return an awaitable of the next chunk."""
        error, self.told = self.told, None
        return throw(self.chunks, cast("BaseException", error))

    async def tell(
        self, hook: Callable[[str], object], chunk: str, source_must_know: Callable[[], bool]
    ) -> None:
        told = hook(chunk)
        if told is not None and inspect.isawaitable(told):
            await self.wait(told, source_must_know)

    async def wait(
        self, awaitable: Awaitable[object], source_must_know: Callable[[], bool]
    ) -> None:
        """Wait while the source stands at a `yield`.

        If the wait is cancelled and `source_must_know()` is true, nothing is raised here: the next
        step raises the cancellation in the source.
        """
        try:
            await awaitable
        except anyio.get_cancelled_exc_class() as error:
            if not source_must_know():
                raise
            self.told = error

    async def end_with(self, error: BaseException) -> RuntimeError:
        """Raise in the source, at its `yield`, a cancellation that has cut a send.

        A timeout or task group around a `yield` of the source cancels the server's task wherever
        that waits. Nobody knows whether the message arrived, so the stream cannot go on. Of a
        source that would go on, or end, the error that is returned tells what was wrong.
        """
        self.told = error
        del error  # its traceback holds whoever waited
        with suppress(StopAsyncIteration):
            await self.learn()
        return RuntimeError(
            "a timeout or task group around a yield of the source has cancelled a send: the client "
            "may lack that message; put timeouts around what the source awaits, not around a yield"
        )

    async def close(self, cleanup: Callable[[], AbstractContextManager[object]]) -> None:
        """Close the source, as `async for` does not: now, in this task, not at collection."""
        self.told = None  # its traceback holds whoever waited
        in_thread = isinstance(self.chunks, ThreadedIterator)
        with cleanup() if in_thread else nullcontext():  # there the awaits are ours to shield
            try:
                await close(self.chunks)
            except BaseExceptionGroup as group:
                # A task group around the `yield` makes a group of what closes the generator, too.
                rest = group.split(GeneratorExit)[1]
                if rest is not None:
                    raise rest from None


async def throw(iterator: AsyncIterator[Chunk], error: BaseException) -> Chunk:
    """Raise an error in an iterator, at its `yield`, and return the chunk that it yields next."""
    athrow = getattr(iterator, "athrow", None)
    try:
        if athrow is None:  # it cannot take the error
            raise error
        chunk: Chunk = await athrow(error)
        return chunk
    finally:
        del error  # its traceback holds this frame


async def close(iterator: AsyncIterator[Chunk]) -> None:
    if aclose := getattr(iterator, "aclose", None):
        await aclose()


def is_iterable(value: object, it_is: str = "the source is") -> bool:
    """Tell whether this is an iterable of chunks; `it_is` is how the error message begins.

    Raises:
        TypeError: It can be iterated, but nobody means to stream it like that.
    """
    for kinds, why in _REFUSED.items():
        if isinstance(value, kinds):
            raise TypeError(f"{it_is} {_a(value)}{why}")
    iterable = isinstance(value, (AsyncIterable, Iterable))
    if iterable and isinstance(value, type):  # an Enum's members can be iterated
        raise TypeError(f"{it_is} the class {value.__qualname__}; pass a list of its chunks")
    return iterable


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
    check_takes(source, f"the source {name}", "a Request", otherwise=", or pass what it returns")


def _makes_iterables(kind: type) -> bool:
    refused = tuple(chain(*_REFUSED))
    return issubclass(kind, (AsyncIterable, Iterable)) and not issubclass(kind, refused)


def _a(value: Any) -> str:  # noqa: ANN401 - whatever the user passed
    return f"of type {type(value).__qualname__}"
