"""What spans and metrics say of each stream, and that they say nothing of its payload."""

import contextlib
import logging

import anyio
import pytest

from sse_asgi import EventStream, EventStreamMiddleware, Finish, Outcome, Usage
from sse_asgi.chat import ChatApp, ChatError
from sse_asgi.limits import Limits
from sse_asgi.starlette import EventStreamResponse
from sse_asgi.telemetry import Telemetry
from sse_asgi.telemetry.names import NAMES
from sse_asgi.testing import connect
from tests.chat.asking import BODIES, CHAT, WHOLE, ask
from tests.telemetry.told import Told

pytestmark = pytest.mark.anyio
SECRET = "what the model says"


@pytest.fixture
def told():
    return Told()


async def words(request):
    yield SECRET
    await anyio.lowlevel.checkpoint()
    yield "b"


async def fails(request):
    yield SECRET
    await anyio.lowlevel.checkpoint()
    raise LookupError(SECRET)


async def stays(request):
    yield SECRET
    await anyio.sleep_forever()


async def read(app, path="/", **request):
    async with connect(app, path, **request) as connection:
        return [event.data async for event in connection]


# Spans


async def test_the_current_span_is_told_how_the_stream_ended(told):
    app = told.traced(EventStream(words, telemetry=told.telemetry()))
    await read(app)
    span = told.server_span
    assert span.attributes["sse.outcome"] == "completed"
    assert span.attributes["sse.chunks"] == 2
    assert 0 <= span.attributes["sse.time_to_first_chunk"] < 60
    assert span.status.status_code.name == "UNSET"
    assert "error.type" not in span.attributes


async def test_a_failed_stream_is_an_error_by_its_type_alone(told, caplog):
    await read(told.traced(EventStream(fails, telemetry=told.telemetry())))
    span = told.server_span
    assert span.status.status_code.name == "ERROR"
    assert span.status.description is None
    assert span.attributes["sse.outcome"] == "failed"
    assert span.attributes["error.type"] == "LookupError"
    assert SECRET not in str(span.to_json()) + str(told.metrics)
    assert [record.name for record in caplog.records] == ["sse_asgi"]


async def test_a_client_that_leaves_is_no_error(told):
    async with connect(told.traced(EventStream(stays, telemetry=told.telemetry()))) as connection:
        await anext(connection)
        await connection.disconnect()
    span = told.server_span
    assert span.attributes["sse.outcome"] == "disconnected"
    assert span.status.status_code.name == "UNSET"


async def test_a_client_that_does_not_read_is_an_error(told):
    async def much(request):
        while True:
            yield "x" * 10_000

    app = told.traced(EventStream(much, telemetry=told.telemetry(), send_timeout=0.05))
    with anyio.fail_after(10):
        async with connect(app):
            while not told.spans:
                await anyio.sleep(0.01)
    span = told.server_span
    assert span.attributes["sse.outcome"] == "timed_out"
    assert span.attributes["error.type"] == "timed_out"
    assert span.status.status_code.name == "ERROR"


async def test_a_failure_before_the_start_is_told_too(told, caplog):
    async def broken(request):
        raise LookupError
        yield

    app = told.traced(EventStream(broken, telemetry=told.telemetry(), prefetch=True))
    with pytest.raises(LookupError):
        await read(app)
    assert told.server_span.attributes["sse.outcome"] == "failed"
    assert told.metrics["sse.server.stream.duration"] == [({"sse.outcome": "failed"}, 1)]
    assert "sse.server.active_streams" not in told.metrics
    assert not caplog.records  # the SDK complains of what it cannot take for an attribute


@pytest.mark.parametrize("exclude", [None, ["send", "receive"]])
async def test_no_context_is_left_or_torn_with_spans_for_each_message(told, exclude, caplog):
    """OpenTelemetry logs "different Context" where one is detached elsewhere."""
    with caplog.at_level(logging.DEBUG):
        app = told.traced(EventStream(words, telemetry=told.telemetry()), exclude_spans=exclude)
        await read(app)
        async with connect(EventStream(stays, telemetry=told.telemetry())) as connection:
            await anext(connection)
    assert "Context" not in caplog.text
    assert told.server_span.attributes["sse.outcome"] == "completed"


async def test_without_a_span_nothing_is_amiss(told):
    assert await read(EventStream(words, telemetry=told.telemetry())) == [SECRET, "b", "[DONE]"]


# Metrics


async def test_streams_are_counted_and_measured(told):
    app = EventStream(words, telemetry=told.telemetry())
    await read(app)
    await read(app)
    completed = {"sse.outcome": "completed"}
    metrics = told.metrics
    assert metrics["sse.server.stream.duration"] == [(completed, 2)]
    assert metrics["sse.server.time_to_first_chunk"] == [(completed, 2)]
    assert metrics["sse.server.chunks"] == [(completed, 4)]
    body = len(f"data: {SECRET}\n\ndata: b\n\ndata: [DONE]\n\n")
    assert metrics["sse.server.bytes"] == [(completed, 2 * body)]
    assert metrics["sse.server.active_streams"] == [({}, 0)]
    assert not [name for name in metrics if name.startswith("gen_ai")]


async def test_open_streams_are_counted_while_they_are_open(told):
    app = EventStream(stays, telemetry=told.telemetry())
    async with connect(app) as one, connect(app) as two:
        await anext(one)
        await anext(two)
        assert told.metrics["sse.server.active_streams"] == [({}, 2)]
    assert told.metrics["sse.server.active_streams"] == [({}, 0)]
    assert told.metrics["sse.server.stream.duration"] == [({"sse.outcome": "disconnected"}, 2)]


async def test_the_buckets_go_to_ten_minutes(told):
    await read(EventStream(words, telemetry=told.telemetry()))
    (point,) = told.points("sse.server.stream.duration")
    assert point.explicit_bounds[-1] == 600
    assert sum(bound > 10 for bound in point.explicit_bounds) >= 5


async def test_refusals_are_counted(told):
    app = EventStream(stays, telemetry=told.telemetry(), limits=Limits(1))
    async with connect(app) as admitted:
        await anext(admitted)
        async with connect(app) as refused:
            assert refused.status == 429
    assert told.metrics["sse.server.refused"] == [({}, 1)]
    assert told.metrics["sse.server.stream.duration"] == [({"sse.outcome": "disconnected"}, 1)]


async def test_head_is_no_stream(told):
    async with connect(EventStream(words, telemetry=told.telemetry()), method="HEAD") as head:
        assert head.status == 200
    assert told.metrics == {}


async def test_a_users_hook_is_still_called_with_what_it_takes(told):
    seen = []
    for hook in (seen.append, lambda *both: seen.append(both)):
        await read(EventStream(words, telemetry=told.telemetry(), on_complete=hook))

    async def later(transcript, request):
        seen.append((transcript, request.path))

    await read(EventStream(words, telemetry=told.telemetry(), on_complete=later))
    assert seen[0].outcome is Outcome.COMPLETED
    assert seen[-1][1] == "/"


async def test_the_route_is_told_where_the_framework_knows_it(told):
    fastapi = pytest.importorskip("fastapi")
    app, telemetry = fastapi.FastAPI(), told.telemetry()

    @app.get("/answers/{number}")
    async def answer(number: int):
        return EventStreamResponse(words, telemetry=telemetry)

    await read(app, "/answers/5")
    ((attributes, _),) = told.metrics["sse.server.stream.duration"]
    assert attributes == {"http.route": "/answers/{number}", "sse.outcome": "completed"}


# The middleware


async def test_behind_the_middleware_event_streams_are_told_of_and_nothing_else(told):
    async def endpoint(scope, receive, send):
        kind = b"text/event-stream" if scope["path"] == "/stream" else b"text/plain"
        headers = [(b"content-type", kind)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: a\n\n", "more_body": True})
        await send({"type": "http.response.body", "body": b"data: b\n\ndata: [DONE]\n\n"})

    app = told.traced(EventStreamMiddleware(endpoint, telemetry=told.telemetry()))
    async with connect(app, "/plain") as plain:
        await plain.read()
    assert told.metrics == {}
    assert "sse.outcome" not in told.server_span.attributes
    told.exporter.clear()
    await read(app, "/stream")
    assert told.server_span.attributes["sse.outcome"] == "completed"
    assert told.server_span.attributes["sse.chunks"] == 2
    assert told.metrics["sse.server.chunks"] == [({"sse.outcome": "completed"}, 2)]


# Models


async def test_model_and_operation_give_the_metrics_of_the_conventions(told):
    async def source(request):
        yield "a"
        yield "b"
        yield Usage(input_tokens=9, output_tokens=3)
        yield Finish("stop")

    telemetry = told.telemetry(model="small", operation="chat", provider="us")
    await read(told.traced(EventStream(source, telemetry=telemetry)))
    labels = {
        "gen_ai.request.model": "small",
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "us",
    }
    metrics = told.metrics
    assert metrics["gen_ai.server.request.duration"] == [(labels, 1)]
    assert metrics["gen_ai.server.time_to_first_token"] == [(labels, 1)]
    assert metrics["gen_ai.server.time_per_output_token"] == [(labels, 1)]
    assert sorted(value for _, value in metrics["sse.server.tokens"]) == [3, 9]
    attributes = told.server_span.attributes
    assert attributes.items() >= labels.items()
    assert attributes["gen_ai.usage.input_tokens"] == 9
    assert attributes["gen_ai.usage.output_tokens"] == 3
    assert attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert attributes["gen_ai.response.time_to_first_chunk"] >= 0


async def generate(chat):
    yield "a"
    yield Usage(input_tokens=9, output_tokens=3)


async def test_a_chat_app_knows_model_and_operation(told):
    app = told.traced(ChatApp(generate, models=("mine",), telemetry=told.telemetry()))
    await ask(app, CHAT, BODIES[CHAT] | {"stream": True})
    labels = {"gen_ai.request.model": "mine", "gen_ai.operation.name": "chat"}
    assert told.metrics["gen_ai.server.request.duration"] == [(labels, 1)]
    completed = labels | {"sse.outcome": "completed"}
    assert told.metrics["sse.server.stream.duration"] == [(completed, 1)]
    assert told.server_span.attributes.items() >= labels.items()


@pytest.mark.parametrize("path", WHOLE)
async def test_an_answer_that_does_not_stream_is_one_of_the_model_and_no_stream(told, path):
    app = told.traced(ChatApp(generate, models=("mine",), telemetry=told.telemetry()))
    assert (await ask(app, path, BODIES[path])).status == 200
    metrics = told.metrics
    assert [count for _, count in metrics["gen_ai.server.request.duration"]] == [1]
    assert {*metrics} <= {name for name in metrics if "gen_ai" in name} | {"sse.server.tokens"}
    assert told.server_span.attributes["gen_ai.usage.output_tokens"] == 3


async def test_a_model_that_a_client_makes_up_is_no_attribute_of_a_metric(told):
    app = told.traced(ChatApp(generate, telemetry=told.telemetry()))
    await ask(app, CHAT, BODIES[CHAT] | {"stream": True, "model": "made up"})
    assert "made up" not in str(told.metrics)
    assert told.server_span.attributes["gen_ai.request.model"] == "made up"


async def test_a_chat_that_is_refused_or_fails(told):
    async def broken(chat):
        raise ChatError(402, "Pay first.")
        yield

    app = ChatApp(broken, models=("mine",), telemetry=told.telemetry())
    assert (await ask(app, CHAT, BODIES[CHAT] | {"stream": True})).status == 402
    ((labels, _),) = told.metrics["gen_ai.server.request.duration"]
    assert labels["error.type"] == "ChatError"
    limits = Limits(1)
    app = ChatApp(generate, telemetry=told.telemetry(), limits=limits)
    with contextlib.closing(_Taken(limits)):
        assert (await ask(app, CHAT, BODIES[CHAT])).status == 429
    assert told.metrics["sse.server.refused"] == [({}, 1)]


class _Taken:
    def __init__(self, limits):
        self.close = limits._places.take(None).release


# Options


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"meter_provider": 5}, "meter_provider must be a MeterProvider or None, not 5"),
        ({"model": 5}, "model must be a str or None, not 5"),
        ({"operation": b"chat"}, "operation must be a str or None, not b'chat'"),
        ({"provider": 5}, "provider must be a str or None, not 5"),
    ],
)
async def test_wrong_values_raise_at_once(options, said):
    with pytest.raises(TypeError, match=said):
        Telemetry(**options)


@pytest.mark.parametrize("value", [True, Telemetry, Limits(1)])
async def test_another_value_for_the_option_raises_at_once(value):
    with pytest.raises(TypeError, match="telemetry must be a Telemetry or None, not "):
        EventStream(["a"], telemetry=value)


async def test_no_name_is_given_twice():
    assert len(set(NAMES.values())) == len(NAMES)
