"""Every kind of source is an async iterator; what is none is refused and named."""

import functools
import re
from enum import Enum
from types import MappingProxyType

import anyio
import pytest

from sse_asgi import EventStream, Outcome, ServerSentEvent, SourceSpentError
from sse_asgi.source.source import SourceOpener
from tests.stream.peer import Peer, logged_errors, run

WORDS = ["one ", "", "two"]


class Again:
    """An async iterable that can be iterated any number of times."""

    async def __aiter__(self):
        for word in WORDS:
            await anyio.sleep(0)
            yield word


class ByHand:
    """An async iterator without any method more than it must have."""

    def __init__(self, request=None):
        self.words = list(WORDS)

    def __aiter__(self):
        return self

    async def __anext__(self):
        await anyio.sleep(0)
        if not self.words:
            raise StopAsyncIteration
        return self.words.pop(0)


class OldStyle:
    """An iterable by index alone is none for `iter`'s abstract class."""

    def __getitem__(self, index):
        return WORDS[index]


async def async_generator(request=None):
    for word in WORDS:
        await anyio.sleep(0)
        yield word


def generator(request=None):
    yield from WORDS


async def returns(made, request):
    await anyio.sleep(0)
    return made()


def returns_awaitable(request):
    return functools.partial(returns, async_generator)(request)


class Callable:
    async def __call__(self, request):
        return WORDS


class Method:
    async def answer(self, request):
        yield "one "
        yield "two"


ANEW = {
    "async iterable": Again(), "list": WORDS, "tuple": tuple(WORDS),
    "async generator function": async_generator,
    "generator function": generator, "class of async iterators": ByHand,
    "method": Method().answer, "callable object": Callable(),
    "lambda that gives a list": lambda request: WORDS,
    "lambda that gives an async iterable": lambda request: Again(),
    "async function that gives an async generator": functools.partial(returns, async_generator),
    "async function that gives a generator": functools.partial(returns, generator),
    "async function that gives a list": functools.partial(returns, lambda: WORDS),
    "async function that gives an async iterator": functools.partial(returns, ByHand),
    "sync function that gives an awaitable": returns_awaitable,
    "function with options": lambda request, *, model="small": WORDS,
}  # fmt: skip
ONCE = {
    "async generator": async_generator, "async iterator": ByHand, "generator": generator,
    "sync iterator": lambda: iter(WORDS), "map": lambda: map(str, WORDS),
}  # fmt: skip


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ANEW)
async def test_serves_each_request_anew(kind):
    app = EventStream(ANEW[kind])
    for _ in range(2):
        async with Peer(app) as peer:
            pass
        assert peer.text == "one two"
        assert peer.raised is None


@pytest.mark.anyio
@pytest.mark.parametrize("kind", ONCE)
async def test_an_iterator_serves_one_request(kind):
    app = EventStream(ONCE[kind]())
    async with Peer(app) as peer:
        pass
    assert peer.text == "one two"
    async with Peer(app) as second:
        pass
    assert isinstance(second.raised, SourceSpentError)
    assert "function" in str(second.raised)
    assert second.messages == []


@pytest.mark.anyio
async def test_an_iterator_is_spent_while_its_one_response_still_runs():
    async def idle():
        yield "one"
        await anyio.sleep_forever()

    app = EventStream(idle())
    async with Peer(app) as first:
        await first.received(b"one")
        async with Peer(app) as second:
            pass
        assert isinstance(second.raised, SourceSpentError)
        first.leave()
    assert first.raised is None


@pytest.mark.anyio
async def test_a_source_is_called_with_the_request_of_each():
    async def source(request):
        yield request.query_params["q"]

    app = EventStream(source)
    for query in ("a", "b"):
        async with Peer(app, query_string=f"q={query}".encode()) as peer:
            pass
        assert peer.text == query


@pytest.mark.parametrize(
    "text", ["text", b"bytes", bytearray(b"x"), memoryview(b"x"), ServerSentEvent(data="x")]
)
def test_one_string_is_refused(text):
    with pytest.raises(TypeError, match=f"{type(text).__name__}.*wrap it"):
        EventStream(text)


@pytest.mark.parametrize("value", [7, None, 1.5, object(), OldStyle()])
def test_what_is_no_iterable_and_no_callable_is_refused(value):
    with pytest.raises(
        TypeError, match=f"source.*{type(value).__name__}.*callable that takes a Request"
    ):
        EventStream(value)


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": "b"}, r"of type dict, of which the keys .*values\(\)"),
        (MappingProxyType({"a": "b"}), r"of type mappingproxy, of which the keys"),
        ({"a"}, "of type set, which has no order; pass a list"),
        (frozenset("a"), "of type frozenset, which has no order"),
        (Colour, "the class Colour; pass a list"),
    ],
)
@pytest.mark.anyio
async def test_an_iterable_that_nobody_means_to_stream_is_refused(value, message):
    with pytest.raises(TypeError, match=message):
        EventStream(value)
    peer, transcript = await run(lambda request: value)
    assert transcript.outcome is Outcome.FAILED
    assert re.search(message, str(peer.failure))


@pytest.mark.parametrize("kind", [str, dict, set, int, object, Method, Callable, ServerSentEvent])
def test_a_class_whose_instances_are_no_sources_is_refused(kind):
    with pytest.raises(TypeError, match=f"the class {kind.__name__}, whose instances .*; pass"):
        EventStream(kind)


@pytest.mark.anyio
async def test_the_values_of_a_dict_are_streamed_in_order():
    _, transcript = await run({"a": "one ", "b": "two"}.values())
    assert transcript.text == "one two"


def test_what_a_callable_was_given_is_not_shown():
    with pytest.raises(TypeError) as caught:
        EventStream(functools.partial(generator, "the patient's name"))
    assert str(caught.value).startswith("the source partial cannot be called with one argument")
    assert "patient" not in str(caught.value)


def test_a_coroutine_is_refused_and_closed():
    async def answer():
        return WORDS

    coroutine = answer()
    with pytest.raises(TypeError, match=r"coroutine.*function itself"):
        EventStream(coroutine)
    assert coroutine.cr_frame is None


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: WORDS,
        lambda a, b: WORDS,
        lambda *, request: WORDS,
        functools.partial(generator, None),
        Method.answer,
    ],
)
def test_a_callable_of_the_wrong_arity_is_refused(wrong):
    with pytest.raises(
        TypeError,
        match=r"the source .*(lambda|partial|answer).* one argument, a Request.*what it returns$",
    ):
        EventStream(wrong)


def test_an_async_generator_function_without_parameter_is_refused():
    async def answer():
        yield "text"

    with pytest.raises(TypeError, match=r"answer.* one argument, a Request"):
        EventStream(answer)


def test_a_callable_that_does_not_tell_its_parameters_is_taken():
    class Untold:
        __signature__ = "none"

        def __call__(self, request):
            return WORDS

    SourceOpener(Untold())


@pytest.mark.anyio
@pytest.mark.parametrize("value", ["text", b"bytes", 7, None, object()])
async def test_a_callable_that_returns_no_iterable_fails_the_stream(value):
    peer, transcript = await run(lambda request: value)
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(peer.failure, TypeError)
    assert type(value).__name__ in str(peer.failure)
    assert "the source returned" in str(peer.failure)
    assert [event.type for event in peer.events] == ["error"]
    assert peer.closed


@pytest.mark.anyio
async def test_a_callable_that_raises_fails_the_stream():
    def broken(request):
        raise LookupError("no model")

    peer, transcript = await run(broken)
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(peer.failure, LookupError)
    assert peer.failure is transcript.error


@pytest.mark.anyio
@pytest.mark.parametrize("end", ["completed", "disconnected", "failed"])
async def test_an_iterator_is_closed_where_it_was_stepped(end):
    """`aclose` of an iterator by hand is called, whatever ended the stream."""
    closed = []

    class Closing(ByHand):
        async def __anext__(self):
            if not self.words:
                if end == "failed":
                    raise LookupError
                if end == "disconnected":
                    await anyio.sleep_forever()
            return await super().__anext__()

        async def aclose(self):
            closed.append(anyio.get_current_task().id)

    async with Peer(EventStream(Closing)) as peer:
        await peer.received(b"two")
        if end == "disconnected":
            peer.leave()
    assert len(closed) == 1
    assert peer.raised is None
    assert len(logged_errors(peer.log)) == (end == "failed")
