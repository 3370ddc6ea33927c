"""Admission in one process: exact however streams end, and fair to every key."""

import asyncio
import contextlib
import json
import threading

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import EventStream, EventStreamMiddleware, JSONFraming, TextFraming
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.limits import Limits
from sse_asgi.starlette import EventStreamResponse
from sse_asgi.testing import connect
from tests.examples import examples
from tests.limits.visits import House, Visit, key_of

KEYS = ("ann", "bob", "nobody")


def held(limits):
    """Return how many places are taken, and by whom."""
    return limits._places._open, dict(limits._places._open_of)


# The bounds


@pytest.mark.anyio
async def test_above_the_total_a_request_gets_429_and_the_source_is_not_called():
    house, limits = House(), Limits(2)
    app = EventStream(house.source, limits=limits)
    async with connect(app), connect(app):
        async with connect(app) as refused:
            assert refused.status == 429
            assert 1 <= int(refused.headers["retry-after"]) <= 60
            assert refused.headers["content-type"] == "application/json"
            assert refused.headers["cache-control"] == "no-store"
            assert "as many streams open" in json.loads(await refused.read())["message"]
        assert house.called == 2
    async with connect(app) as admitted:
        assert admitted.status == 200
    assert held(limits) == (0, {})


@pytest.mark.anyio
async def test_a_key_that_has_its_share_leaves_the_rest_to_others():
    house, limits = House(), Limits(10, per=key_of, each=2)
    app = EventStream(house.source, limits=limits)
    ann, bob = {"x-key": "ann"}, {"x-key": "bob"}
    async with connect(app, headers=ann), connect(app, headers=ann):
        for _ in range(100):
            async with connect(app, headers=ann) as refused:
                assert refused.status == 429
                assert "You have as many" in json.loads(await refused.read())["message"]
        async with connect(app, headers=bob) as admitted:
            assert admitted.status == 200
    assert house.called == 3


@pytest.mark.anyio
async def test_one_limits_bounds_several_apps_together():
    house, limits = House(), Limits(1)
    one, two = (EventStream(house.source, limits=limits) for _ in range(2))
    async with connect(one), connect(two) as refused:
        assert refused.status == 429


@pytest.mark.anyio
async def test_head_needs_no_place():
    house = House()
    app = EventStream(house.source, limits=Limits(1))
    async with connect(app), connect(app, method="HEAD") as head:
        assert head.status == 200
    assert house.called == 1


@pytest.mark.anyio
async def test_an_iterator_that_is_refused_is_not_spent():
    limits = Limits(1)
    app = EventStream(iter(["one"]), limits=limits)
    async with connect(EventStream(House().source, limits=limits)), connect(app) as refused:
        assert refused.status == 429
    async with connect(app) as admitted:
        assert [event.data async for event in admitted] == ["one", "[DONE]"]


@pytest.mark.anyio
async def test_a_place_is_free_before_the_hook_runs():
    """The client that has its answer may ask the next question while the first is saved."""
    limits, seen = Limits(1), []
    app = EventStream(
        ["a"], limits=limits, on_complete=lambda transcript: seen.append(held(limits))
    )
    async with connect(app) as first:
        assert [event.data async for event in first] == ["a", "[DONE]"]
    assert seen == [(0, {})]


TOO_MANY = "The server has as many streams open as it allows. Try again later."
RATE_LIMIT = {"type": "rate_limit_error", "message": TOO_MANY}
OPENAI_RATE_LIMIT = RATE_LIMIT | {"param": None, "code": "rate_limit_exceeded"}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("framing", "said"),
    [
        (TextFraming(), {"message": TOO_MANY}),
        (JSONFraming(), {"message": TOO_MANY}),
        (ChatCompletions("m"), {"error": OPENAI_RATE_LIMIT}),
        (Responses("m"), {"type": "error", "error": OPENAI_RATE_LIMIT, "sequence_number": 2}),
        (AnthropicMessages("m"), {"type": "error", "error": RATE_LIMIT}),
        (UIMessages(), {"type": "error", "errorText": TOO_MANY}),
        (
            AGUI(thread_id="t", run_id="r"),
            {"type": "RUN_ERROR", "message": TOO_MANY, "code": "rate_limit_exceeded"},
        ),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("is_behind_the_middleware", [False, True])
async def test_the_refusal_is_in_the_words_of_the_framing(framing, said, is_behind_the_middleware):
    house, limits = House(), Limits(1)
    if is_behind_the_middleware:
        stream = EventStream(house.source, framing=framing)
        app = EventStreamMiddleware(stream, framing=framing, limits=limits)
    else:
        app = EventStream(house.source, framing=framing, limits=limits)
    async with connect(app) as admitted:
        await anext(admitted)
        async with connect(app) as refused:
            assert refused.status == 429
            assert json.loads(await refused.read()) == said


@pytest.mark.anyio
async def test_the_refusal_has_the_headers_that_let_other_origins_read_it():
    headers = {"access-control-allow-origin": "*", "content-type": "text/event-stream"}
    app = EventStream(House().source, limits=Limits(1), headers=headers)
    async with connect(app), connect(app) as refused:
        assert refused.headers["access-control-allow-origin"] == "*"
        assert refused.headers["content-type"] == "application/json"


@pytest.mark.anyio
async def test_a_response_of_starlette_is_bounded_too():
    limits = Limits(1)
    first = EventStreamResponse(House().source, limits=limits)
    second = EventStreamResponse(["never"], limits=limits)
    async with connect(first), connect(second) as refused:
        assert refused.status == 429


@pytest.mark.anyio
@pytest.mark.parametrize("key", [[], {}])
async def test_a_key_that_cannot_be_counted_is_an_error_that_says_so(key):
    app = EventStream(["a"], limits=Limits(per=lambda request: key, each=1))
    with pytest.raises(TypeError, match=f"hashed, not of type {type(key).__name__}"):
        async with connect(app):
            pass


@pytest.mark.anyio
async def test_what_the_app_raises_gives_its_place_back():
    def broken(request):
        raise LookupError

    limits = Limits(1)
    app = EventStream(broken, limits=limits, prefetch=True)
    for _ in range(3):
        with pytest.raises(LookupError):
            async with connect(app):
                pass
    assert held(limits) == (0, {})


# Exact however streams end


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "open", "open", "leave", "cancel", "finish"]),
        st.sampled_from(KEYS),
    ),
    max_size=25,
)


@examples(60)
@given(steps=STEPS, total=st.integers(1, 4), each=st.integers(1, 3))
def test_a_request_is_admitted_exactly_if_there_is_a_place(steps, total, each):
    asyncio.run(walk(steps, total, each))


async def walk(steps, total, each):
    limits, visits = Limits(total, per=key_of, each=each), []
    for step, key in steps:
        if step == "open":
            house = House()
            visit = Visit(EventStream(house.source, limits=limits), key).start()
            of_key = [each for each in visits if each.key == key]
            has_place = len(visits) < total and (key == "nobody" or len(of_key) < each)
            assert await visit.begun() == (200 if has_place else 429)
            if has_place:
                visit.key, visit.house = key, house
                visits.append(visit)
            else:
                await visit.ended()
                assert house.called == 0
        elif visits:
            visit = visits.pop(0)
            {
                "leave": visit.leaves.set,
                "cancel": visit.task.cancel,
                "finish": visit.house.goes.set,
            }[step]()
            await visit.ended()
        keys = [visit.key for visit in visits if visit.key != "nobody"]
        assert held(limits) == (len(visits), {key: keys.count(key) for key in keys})
    for visit in visits:
        await visit.end()
    assert held(limits) == (0, {})


@examples(30)
@given(data=st.data())
def test_visits_that_are_cancelled_anywhere_leave_no_place_taken(data):
    delays = data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=20))
    asyncio.run(crowd(delays))


async def crowd(delays):
    """Open all at once; cancel each after so many turns of the event loop."""
    house, limits = House(), Limits(3, per=key_of, each=2)
    app = EventStream(house.source, limits=limits)
    visits = [Visit(app, KEYS[n % 3]).start() for n in range(len(delays))]

    async def cancel(visit, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        visit.task.cancel()
        await visit.ended()

    await asyncio.gather(*map(cancel, visits, delays))
    assert house.most <= 3
    assert held(limits) == (0, {})


def test_threads_share_the_places_exactly():
    limits, most = Limits(3), []

    def visit():
        for _ in range(300):
            taken = limits._places.take(None)
            if hasattr(taken, "release"):
                most.append(held(limits)[0])
                taken.release()
                taken.release()  # once counts

    threads = [threading.Thread(target=visit) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 3
    assert held(limits) == (0, {})


# The middleware


@pytest.mark.anyio
async def test_the_middleware_bounds_the_event_streams_of_an_app_and_nothing_else():
    starlette = pytest.importorskip("starlette.applications")
    from starlette.responses import PlainTextResponse, StreamingResponse
    from starlette.routing import Route

    house, limits = House(), Limits(1)

    async def stream(request):
        async def text():
            async for chunk in house.source(request):
                yield f"data: {chunk}\n\n"

        headers = {"access-control-allow-origin": "*"}
        return StreamingResponse(text(), headers=headers, media_type="text/event-stream")

    async def plain(request):
        return PlainTextResponse("plain")

    routes = [Route("/stream", stream), Route("/plain", plain)]
    app = EventStreamMiddleware(starlette.Starlette(routes=routes), limits=limits)
    async with connect(app, "/stream") as admitted:
        assert (await anext(admitted)).data == "in"
        async with connect(app, "/stream") as refused:
            assert refused.status == 429
            assert refused.headers["content-type"] == "application/json"
            assert refused.headers["access-control-allow-origin"] == "*"
            assert "message" in json.loads(await refused.read())
            assert refused.error is None
        assert house.called == 1
        async with connect(app, "/plain") as other:
            assert (other.status, await other.read()) == (200, b"plain")
        assert held(limits) == (1, {})
    assert held(limits) == (0, {})


@pytest.mark.anyio
async def test_behind_the_middleware_a_place_is_free_with_the_last_byte():
    limits, free = Limits(1), anyio.Event()

    async def endpoint(scope, receive, send):
        start = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": start})
        await send({"type": "http.response.body", "body": b"data: a\n\n"})
        assert held(limits) == (0, {})  # though its background task goes on
        free.set()

    async with connect(EventStreamMiddleware(endpoint, limits=limits)) as connection:
        assert [event.data async for event in connection] == ["a"]
    assert free.is_set()


# Options


@pytest.mark.parametrize(
    ("arguments", "error", "said"),
    [
        ({}, ValueError, "give total, or per and each"),
        ({"total": 0}, ValueError, "total must be 1 or more, not 0"),
        ({"total": True}, TypeError, "total must be an int or None, not True"),
        ({"total": 2.5}, TypeError, "total must be an int or None, not 2.5"),
        ({"per": key_of}, ValueError, "per needs each"),
        ({"each": 2}, ValueError, "each needs per"),
        ({"per": key_of, "each": -1}, ValueError, "each must be 1 or more, not -1"),
        ({"per": "ip", "each": 1}, TypeError, "per must be a sync function"),
        ({"per": lambda: 1, "each": 1}, TypeError, "per cannot be called with one argument"),
    ],
)
def test_wrong_bounds_raise_at_once_and_say_what_to_do(arguments, error, said):
    with pytest.raises(error, match=said):
        Limits(**arguments)


async def key_later(request):
    return "key"


def test_a_key_that_must_be_awaited_is_refused_at_once():
    with pytest.raises(TypeError, match="per must be a sync function"):
        Limits(per=key_later, each=1)


@pytest.mark.parametrize("value", [5, "many", Limits, object()])
@pytest.mark.parametrize("kind", [EventStream, EventStreamMiddleware])
def test_another_value_for_the_option_raises_at_once(kind, value):
    with pytest.raises(TypeError, match="limits must be a Limits or None, not "):
        kind(EventStream(["a"]) if kind is EventStreamMiddleware else ["a"], limits=value)


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_source_that_does_not_end_keeps_its_place_until_it_does(caplog):
    limits, goes = Limits(1), asyncio.Event()

    async def stuck(request):
        yield "a"
        while not goes.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await goes.wait()

    ended = []
    app = EventStream(stuck, limits=limits, cleanup_timeout=0.01, on_complete=ended.append)
    visit = Visit(app).start()
    assert await visit.begun() == 200
    async with asyncio.timeout(10):
        while b"data: a" not in visit.body:
            await asyncio.sleep(0)
        visit.leaves.set()
        while not ended:  # the stream has, in a task of its own
            await asyncio.sleep(0.01)
    assert held(limits) == (1, {})
    goes.set()
    await visit.ended()
    assert held(limits) == (0, {})
