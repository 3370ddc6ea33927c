"""The official clients' streams as sources: whole, cut at every event, left, and cancelled."""

import inspect
import threading

import anyio
import pytest

from sse_asgi import Finish, ToolCall
from sse_asgi.errors import UpstreamFailedError, UpstreamTruncatedError
from sse_asgi.upstream import from_anthropic, from_openai
from tests.upstream.recorded import ANTHROPIC, CHAT, RESPONSES, Upstream
from tests.upstream.streams import ANSWER, ASYNC, SYNC, WAYS

pytestmark = [
    pytest.mark.anyio,
    # Trio sees that the SDKs leave generators of their own to the collector. Their responses are
    # closed, which is what the tests look at.
    pytest.mark.filterwarnings("ignore:Async generator '(openai|anthropic|httpx2)"),
]


async def collect(source, items):
    async for item in source:
        items.append(item)


@pytest.mark.parametrize("way", WAYS, ids=repr)
async def test_the_whole_answer_comes_through(way):
    upstream, items = Upstream(), []

    await collect(way.open(upstream), items)

    assert items == ANSWER
    assert upstream.is_closed


@pytest.mark.parametrize("way", SYNC, ids=repr)
def test_a_sync_stream_can_be_iterated_synchronously(way):
    upstream = Upstream()

    assert list(way.open(upstream)) == ANSWER
    assert upstream.is_closed


@pytest.mark.parametrize("way", WAYS, ids=repr)
@pytest.mark.matrix("anyio_backend")
async def test_a_stream_cut_at_any_event_raises(way):
    for cut in range(way.terminal):
        upstream, items = Upstream(cut=cut), []

        with pytest.raises(UpstreamTruncatedError, match="without"):
            await collect(way.open(upstream), items)

        assert items == [item for item in ANSWER[:4] if item in items]
        assert upstream.is_closed


@pytest.mark.parametrize("way", WAYS, ids=repr)
async def test_leaving_half_way_closes_the_upstream(way):
    upstream = Upstream()
    source = way.open(upstream)

    async for item in source:
        if item == "Hel":
            break
    await source.aclose()

    assert upstream.is_closed
    with pytest.raises(StopAsyncIteration):
        await anext(source)


@pytest.mark.parametrize("way", [way for way in WAYS if "create" in way.name], ids=repr)
async def test_closing_before_the_first_step_closes_the_upstream(way):
    upstream = Upstream()
    stream = way.call(upstream.client(way.client))
    if inspect.isawaitable(stream):
        stream = await stream
    source = way.read(stream)

    await source.aclose()
    await source.aclose()

    assert upstream.is_closed
    with pytest.raises(StopAsyncIteration):
        await anext(source)


@pytest.mark.parametrize("way", [way for way in SYNC if "create" in way.name], ids=repr)
def test_closing_synchronously_before_the_first_step_closes_the_upstream(way):
    upstream = Upstream()

    way.open(upstream).close()

    assert upstream.is_closed


@pytest.mark.parametrize("way", ASYNC, ids=repr)
async def test_a_cancelled_step_closes_the_upstream(way):
    waits = anyio.Event()

    async def wait():
        waits.set()
        await anyio.sleep_forever()

    upstream, items = Upstream(cut=3, before_end=wait), []
    async with anyio.create_task_group() as group:
        group.start_soon(collect, way.open(upstream), items)
        await waits.wait()
        assert not upstream.is_closed
        group.cancel_scope.cancel()

    assert upstream.is_closed


@pytest.mark.parametrize("way", SYNC, ids=repr)
async def test_a_cancelled_step_of_a_sync_stream_closes_it_when_its_read_returns(way):
    waits, go_on = threading.Event(), threading.Event()

    def wait():
        waits.set()
        go_on.wait(10)

    upstream, items = Upstream(cut=3, before_end=wait), []
    async with anyio.create_task_group() as group:
        group.start_soon(collect, way.open(upstream), items)
        await anyio.to_thread.run_sync(waits.wait, 10)
        group.cancel_scope.cancel()
    assert not upstream.is_closed

    go_on.set()

    with anyio.fail_after(10):
        while not upstream.is_closed:
            await anyio.sleep(0.01)


@pytest.mark.parametrize("way", SYNC, ids=repr)
async def test_a_sync_stream_that_async_for_leaves_is_closed_and_its_thread_ends(way):
    before = set(threading.enumerate())
    upstream = Upstream()

    async def first():
        async for item in way.open(upstream):
            assert item == ANSWER[0]
            return

    await first()

    with anyio.fail_after(10):
        while not upstream.is_closed or set(threading.enumerate()) - before:
            await anyio.sleep(0.01)


async def test_an_error_raised_at_the_yield_closes_the_upstream():
    way, upstream = ASYNC[0], Upstream()
    source = way.open(upstream)
    await anext(source)

    with pytest.raises(LookupError):
        await source.athrow(LookupError())

    assert upstream.is_closed


def chat_source(events):
    return ASYNC[0].open(Upstream(events=events))


def chunk(**choice):
    return CHAT[0] | {"choices": [{"index": 0, "delta": {}, **choice}]}


async def test_arguments_that_the_limit_has_cut_are_dropped_and_others_fail():
    for reason, raises in (("length", False), ("tool_calls", True)):
        items = []
        source = chat_source([*CHAT[:6], chunk(finish_reason=reason)])
        if raises:
            with pytest.raises(ValueError, match="must be JSON"):
                await collect(source, items)
        else:
            await collect(source, items)
            assert items == [*ANSWER[:3], Finish("length")]


async def test_calls_of_one_index_are_told_apart_by_their_ids():
    calls = [
        {"index": 0, "id": id_, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for id_ in ("a", "b")
    ]
    items = []

    await collect(
        chat_source([chunk(delta={"tool_calls": calls}), chunk(finish_reason="stop")]), items
    )

    assert items == [ToolCall("f", {}, "a"), ToolCall("f", {}, "b"), Finish("stop")]


async def test_a_refusal_is_text_and_the_second_of_two_answers_is_none():
    first = chunk(delta={"refusal": "No."})
    second = chunk(index=1, delta={"content": "Yes"}, finish_reason="stop")
    items = []

    with pytest.raises(UpstreamTruncatedError):  # the first has not ended
        await collect(chat_source([first, second]), items)

    assert items == ["No."]


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({"reason": "max_output_tokens"}, "length"),
        ({"reason": "content_filter"}, "content_filter"),
    ],
)
async def test_an_incomplete_response_finishes_with_its_reason(details, reason):
    response = RESPONSES[-1]["response"] | {"status": "incomplete", "incomplete_details": details}
    last = RESPONSES[-1] | {"type": "response.incomplete", "response": response}
    items = []

    await collect(ASYNC[2].open(Upstream(events=[*RESPONSES[:12], last])), items)

    assert items[-1] == Finish(reason)


async def test_a_failed_response_raises():
    error = {"code": "server_error", "message": "out of memory"}
    response = RESPONSES[-1]["response"] | {"status": "failed", "error": error}
    failed = {"type": "response.failed", "sequence_number": 1, "response": response}
    flat = {"type": "error", "sequence_number": 1, "code": "x", "message": "out of memory",
            "param": None}  # fmt: skip
    for event in (failed, flat):
        with pytest.raises(UpstreamFailedError, match="out of memory"):
            await collect(ASYNC[2].open(Upstream(events=[RESPONSES[0], event])), [])


@pytest.mark.parametrize(
    ("stop_reason", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
    ],
)
async def test_anthropic_stop_reasons(stop_reason, reason):
    delta = ANTHROPIC[-2] | {"delta": {"stop_reason": stop_reason, "stop_sequence": None}}
    events = [*ANTHROPIC[:10], delta, ANTHROPIC[-1]]
    items = []

    await collect(ASYNC[-1].open(Upstream(events=events)), items)

    assert items[-1] == Finish(reason)


@pytest.mark.parametrize("value", [None, "text", b"text", {}, 3])
def test_what_is_no_stream_is_refused(value):
    for function in (from_openai, from_anthropic):
        with pytest.raises(TypeError, match="stream=True forgotten"):
            function(value)


async def test_an_answer_that_is_no_stream_is_refused_at_its_first_value():
    for function in (from_openai, from_anthropic):
        with pytest.raises(TypeError, match="pass stream=True"):
            await collect(function([("id", "c1")]), [])


async def test_an_sdk_error_passes_through():
    import openai

    events = [CHAT[2], {"error": {"message": "overloaded", "code": "x"}}]
    with pytest.raises(openai.APIError, match="overloaded"):
        await collect(chat_source(events), [])
