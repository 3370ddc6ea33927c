"""With `context`, a source sees the variables of where it was made, not of where it runs."""

import contextvars
import gc
import weakref

import anyio
import pytest

from sse_asgi import EventStream, Outcome
from tests.sources import cleaning_up
from tests.stream.peer import Peer, Record, logged_errors, run

pytestmark = pytest.mark.anyio

variable = contextvars.ContextVar("variable", default="unset")


def endpoint(source, **options):
    """Make a response as an endpoint does around which something is set, and unset again."""
    token = variable.set("around the endpoint")
    try:
        return EventStream(source, context=contextvars.copy_context(), **options)
    finally:
        variable.reset(token)


async def async_generator(request):
    await anyio.sleep(0)
    yield variable.get()
    await anyio.sleep(0)


def generator(request):
    yield variable.get()


async def returns_generator(request):
    await anyio.sleep(0)
    seen = variable.get()
    return (each for each in [seen])


class ByHand:
    """An async iterator with nothing but what it must have."""

    def __init__(self, request):
        self.seen = [variable.get()]

    def __aiter__(self):
        return self

    async def __anext__(self):
        if not self.seen:
            raise StopAsyncIteration
        return self.seen.pop()


@pytest.mark.parametrize("source", [async_generator, generator, returns_generator, ByHand])
async def test_every_kind_of_source_sees_what_was_set_where_it_was_made(source):
    async with Peer(endpoint(source)) as peer:
        pass
    assert peer.text == "around the endpoint"
    assert peer.raised is None
    without, _ = await run(source)
    assert without.text == "unset"


async def test_a_variable_may_be_set_in_one_step_and_reset_in_the_clean_up():
    cleaned = []

    async def source(request):
        token = variable.set("by the source")
        try:
            yield variable.get()
            await anyio.sleep_forever()
        finally:
            with cleaning_up():
                await anyio.sleep(0.01)
            cleaned.append(variable.get())
            variable.reset(token)
            cleaned.append(variable.get())

    record = Record()
    async with Peer(endpoint(source, on_complete=record)) as peer:
        await peer.received(b"data: by the source\n")
        peer.leave()
    assert cleaned == ["by the source", "around the endpoint"]
    assert (record.only.outcome, record.only.error) == (Outcome.DISCONNECTED, None)
    assert peer.raised is None


async def test_each_response_has_a_copy_of_its_own():
    async def source(request):
        yield variable.get()
        variable.set(request.path)
        await anyio.sleep(0.01)
        yield variable.get()

    stream = endpoint(source)
    texts = []
    async with Peer(stream, path="/a") as one, Peer(stream, path="/b") as two:
        pass
    texts = [one.text, two.text]
    assert texts == ["around the endpoint/a", "around the endpoint/b"]


async def test_hooks_stay_in_the_servers_context():
    seen = []
    stream = endpoint(
        async_generator,
        on_chunk=lambda chunk: seen.append(variable.get()),
        on_complete=lambda transcript: seen.append(variable.get()),
    )
    async with Peer(stream):
        variable.set("the test's")
    assert seen == ["unset", "unset"]


async def test_the_task_is_the_servers_so_timeouts_and_task_groups_work():
    async def source(request):
        with anyio.move_on_after(0.01) as scope:
            await anyio.sleep_forever()
        yield f"{scope.cancelled_caught} "
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.sleep, 0.01)
            yield variable.get()

    async with Peer(endpoint(source)) as peer:
        pass
    assert peer.text == "True around the endpoint"
    assert peer.raised is None


async def test_an_error_of_the_source_holds_nothing_alive():
    class Source:
        def __init__(self, request):
            refs.append(weakref.ref(self))

        async def __aiter__(self):
            await anyio.sleep(0)
            yield "a"
            raise ValueError("why")

    refs = []
    gc.collect()
    gc.disable()
    try:
        async with Peer(endpoint(Source)) as peer:
            pass
        assert isinstance(peer.failure, ValueError)
        assert [event.type for event in peer.events] == ["message", "error"]
        peer.forget()
        assert [each() for each in refs] == [None]
    finally:
        gc.enable()


@pytest.mark.parametrize("fails", [False, True])
async def test_a_timeout_that_passes_at_a_yield_holds_nothing_alive(fails):
    class Source:
        def __init__(self, request):
            refs.append(weakref.ref(self))

        async def __aiter__(self):
            with anyio.move_on_after(0.01):
                while True:
                    yield "a"
            yield variable.get()
            if fails:
                raise ValueError("why")

    async def on_chunk(chunk):
        await anyio.sleep(0.003)

    refs = []
    gc.collect()
    gc.disable()
    try:
        stream = endpoint(Source, on_chunk=on_chunk)
        refs.append(weakref.ref(stream))
        async with Peer(stream) as peer:
            pass
        assert peer.text.endswith("aaround the endpoint")
        assert peer.raised is None
        assert [type(each) for each in logged_errors(peer.log)] == [ValueError] * fails
        peer.forget()
        del stream, peer
        assert [each() for each in refs] == [None, None]
    finally:
        gc.enable()


@pytest.mark.parametrize("value", [contextvars.copy_context, {}, "context", 0])
def test_what_is_no_context_is_refused(value):
    with pytest.raises(TypeError, match=r"context must be .*pass contextvars\.copy_context\(\)"):
        EventStream(["a"], context=value)
