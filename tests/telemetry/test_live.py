"""Live answers in spans and metrics: a generation once, each of its viewers as a stream."""

import asyncio

import pytest

from sse_asgi import Outcome, Usage
from sse_asgi.chat import ChatApp, ChatError
from sse_asgi.limits import Limits
from sse_asgi.live import Live, LogRefusedError, LogUnavailableError, MemoryLog
from sse_asgi.testing import connect
from tests.chat.asking import AG_UI, AI_SDK, BODIES, CHAT, RESPONSES, ask
from tests.chat.watching import Model, Watching
from tests.live.viewers import until
from tests.telemetry.told import Told

pytestmark = pytest.mark.anyio
SECRET = "what the model says"
MODEL = {"gen_ai.request.model": "mine", "gen_ai.operation.name": "chat"}
BACKGROUND = {**BODIES[RESPONSES], "background": True}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
def told():
    return Told()


@pytest.fixture
async def live(told):
    live = Live(telemetry=told.telemetry())
    yield live
    await live.aclose(drain=0)


class Words:
    """A source of two words, the second when it is let go on."""

    def __init__(self):
        self.go_on = asyncio.Event()

    async def __call__(self):
        yield SECRET
        await self.go_on.wait()
        yield "b"


@pytest.fixture
async def words():
    return Words()


async def read(app, path="/"):
    async with connect(app, path) as connection:
        return [event.data async for event in connection]


def active(told):
    """Return how many generations run and how many streams are open."""
    metrics = told.metrics
    return tuple(
        sum(value for _, value in metrics.get(f"sse.server.active_{what}", ()))
        for what in ("generations", "streams")
    )


# Metrics


async def test_a_generation_is_measured_once_and_each_viewer_as_a_stream(told, live, words):
    generation = await live.start(words, id="g")
    assert active(told) == (1, 0)
    viewers = [asyncio.create_task(read(live, "/g")) for _ in range(3)]
    await until(lambda: active(told) == (1, 3))
    words.go_on.set()
    assert await asyncio.gather(*viewers) == [[SECRET, "b", "[DONE]"]] * 3
    await generation.transcript()
    await until(lambda: active(told) == (0, 0))
    completed = {"sse.outcome": "completed"}
    metrics = told.metrics
    assert metrics["sse.server.generation.duration"] == [(completed, 1)]
    assert metrics["sse.server.time_to_first_chunk"] == [(completed, 1)]
    assert metrics["sse.server.chunks"] == [(completed, 2)]
    assert metrics["sse.server.stream.duration"] == [(completed, 3)]
    async with connect(live, "/g") as late:
        size = len(await late.read())
    assert metrics["sse.server.bytes"] == [(completed, 3 * size)]
    assert not [name for name in metrics if name.startswith("gen_ai")]
    assert SECRET not in str(metrics)


async def test_a_generation_goes_on_when_its_viewers_have_left(told, live, words):
    generation = await live.start(words, id="g")
    async with connect(live, "/g") as viewer:
        await anext(viewer)
        await viewer.disconnect()
    assert active(told) == (1, 0)
    words.go_on.set()
    await generation.transcript()
    await until(lambda: active(told) == (0, 0))
    metrics = told.metrics
    assert metrics["sse.server.stream.duration"] == [({"sse.outcome": "disconnected"}, 1)]
    assert metrics["sse.server.generation.duration"] == [({"sse.outcome": "completed"}, 1)]


async def test_one_that_is_viewed_by_its_generation_is_measured_too(told, live):
    generation = await live.start(["a"])
    assert await read(generation) == ["a", "[DONE]"]
    assert told.metrics["sse.server.stream.duration"] == [({"sse.outcome": "completed"}, 1)]


async def test_how_a_generation_ends_is_told(told, live, words):
    async def fails():
        yield SECRET
        raise LookupError(SECRET)

    stopped = await live.start(words, id="g")
    await live.stop("g")
    await stopped.transcript()
    await (await live.start(fails)).transcript()
    await live.start(words)
    await live.aclose(drain=0)
    ended = {
        attributes["sse.outcome"]: count
        for attributes, count in told.metrics["sse.server.generation.duration"]
    }
    assert ended == {"stopped": 1, "failed": 1, "shut_down": 1}
    assert active(told) == (0, 0)


async def test_what_is_not_begun_is_not_measured(told, words):
    class Away(MemoryLog):
        async def create(self, key, token, meta, *, keep):
            raise LogUnavailableError("away")

    live = Live(Away(), telemetry=told.telemetry())
    with pytest.raises(LogUnavailableError):
        await live.start(words)
    assert told.metrics == {}


async def test_whoever_starts_what_runs_is_a_viewer_alone(told, live, words):
    first, second = [await live.start(words, id="g") for _ in range(2)]
    assert (first.started, second.started) == (True, False)
    assert active(told) == (1, 0)
    words.go_on.set()
    await first.transcript()
    await until(lambda: active(told) == (0, 0))
    assert told.metrics["sse.server.generation.duration"] == [({"sse.outcome": "completed"}, 1)]


async def test_a_viewer_without_a_place_is_counted_as_refused(told, words):
    live = Live(telemetry=told.telemetry(), limits=Limits(1))
    await live.start(words, id="g")
    async with connect(live, "/g") as admitted:
        await anext(admitted)
        async with connect(live, "/g") as refused:
            assert refused.status == 429
    assert told.metrics["sse.server.refused"] == [({}, 1)]
    await live.aclose(drain=0)


async def test_one_whose_process_died_is_counted_by_who_noticed(told):
    log = MemoryLog()
    live = Live(log, telemetry=told.telemetry())
    log.on_buried("g", "token")
    assert told.metrics == {"sse.server.interrupted_generations": [({}, 1)]}
    await live.aclose()


async def test_what_viewers_see_of_no_generation_is_not_measured(told, live, words):
    await live.start(words, id="g")
    for path, method in (("/none", "GET"), ("/g", "HEAD"), ("/none", "DELETE")):
        async with connect(live, path, method=method):
            pass
    assert {*told.metrics} == {"sse.server.active_generations"}


async def test_a_users_hook_is_still_called(told, live):
    seen = []
    for hook in (seen.append, lambda transcript, request: seen.append(transcript)):
        await (await live.start(["a"], on_complete=hook)).transcript()
    assert [each.outcome for each in seen] == [Outcome.COMPLETED] * 2


# Spans


def span_of(told, method):
    (span,) = (each for each in told.spans if each.name.startswith(method))
    return span


async def test_the_span_that_starts_an_answer_is_told_of_it(told, words):
    words.go_on.set()

    async def generate(chat):
        async for word in words():
            yield word
        yield Usage(input_tokens=9, output_tokens=3)

    telemetry = told.telemetry(provider="us")
    app = told.traced(ChatApp(generate, live=Live(), models=("mine",), telemetry=telemetry))
    assert (await ask(app, AG_UI, BODIES[AG_UI])).status == 200
    attributes = told.server_span.attributes
    assert attributes["sse.outcome"] == attributes["sse.generation.outcome"] == "completed"
    assert attributes["sse.chunks"] == 2
    assert 0 <= attributes["sse.time_to_first_chunk"] < 60
    assert attributes["gen_ai.usage.output_tokens"] == 3
    assert attributes["gen_ai.provider.name"] == "us"
    assert attributes.items() >= MODEL.items()
    assert SECRET not in told.server_span.to_json()
    told.exporter.clear()
    assert (await ask(app, f"{AG_UI}?offset=-1&runId=r", method="GET")).status == 200
    attributes = told.server_span.attributes
    assert {name for name in attributes if name.startswith(("sse", "gen_ai"))} == {"sse.outcome"}


async def test_the_span_is_told_before_the_last_event_is_sent(told):
    """An instrumentation of a server ends it then."""
    model, live, seen = Model(), Live(), []
    model.go_on.set()
    app = ChatApp(model.generate, live=live, telemetry=told.telemetry())

    async def server(scope, receive, send):
        with told.tracers.get_tracer("server").start_as_current_span("POST") as span:

            async def pass_on(message):
                if b"RUN_FINISHED" in message.get("body", b""):
                    seen.append(span.attributes.get("sse.generation.outcome"))
                await send(message)

            await app(scope, receive, pass_on)

    assert (await ask(server, AG_UI, BODIES[AG_UI])).status == 200
    assert seen == ["completed"]
    await live.aclose()


async def test_the_span_is_told_of_an_end_that_the_log_did_not_take(told, caplog):
    class Full(MemoryLog):
        async def finish(self, key, token, prev, events, ending):
            raise LogRefusedError("full")

    live = Live(Full(), telemetry=told.telemetry())
    with told.tracers.get_tracer("server").start_as_current_span("POST") as span:
        transcript = await (await live.start(["a"])).transcript()
        assert transcript.outcome is Outcome.FAILED
        assert span.attributes["sse.generation.outcome"] == "failed"
        assert span.status.status_code.name == "ERROR"
    await live.aclose()


@pytest.mark.parametrize("first", [[], ["Hel"]], ids=["before", "after"])
async def test_a_failure_is_an_error_of_the_span_that_started_it(told, first, caplog):
    async def generate(chat):
        for word in first:
            yield word
        raise LookupError(SECRET)

    live = Live()
    app = told.traced(ChatApp(generate, live=live, models=("mine",), telemetry=told.telemetry()))
    assert (await ask(app, AI_SDK, BODIES[AI_SDK])).status == (200 if first else 500)
    span = told.server_span
    assert span.status.status_code.name == "ERROR"
    assert span.attributes["error.type"] == "LookupError"
    assert span.attributes["sse.generation.outcome"] == "failed"
    ((labels, count),) = told.metrics["gen_ai.server.request.duration"]
    assert (labels, count) == ({**MODEL, "error.type": "LookupError"}, 1)
    assert SECRET not in span.to_json() + str(told.metrics)
    await live.aclose()


async def test_a_client_that_leaves_is_no_error_and_its_span_is_left_alone(told, caplog):
    """The SDK warns if a span is told anything after its end."""
    live, model = Live(), Model()
    app = ChatApp(model.generate, live=live, telemetry=told.telemetry(), on_complete=model.complete)
    watching = Watching(told.traced(app), AI_SDK, BODIES[AI_SDK])
    await watching.until(b"Hel")
    await watching.leave()
    span = told.server_span
    assert span.attributes["sse.outcome"] == "disconnected"
    assert span.status.status_code.name == "UNSET"
    assert "sse.generation.outcome" not in span.attributes
    model.go_on.set()
    await model.all_told()
    assert caplog.records == []
    assert told.metrics["gen_ai.server.request.duration"] == [
        ({"gen_ai.operation.name": "chat"}, 1)
    ]
    await live.aclose()


# Chats


@pytest.mark.parametrize("stream", [True, False])
async def test_an_answer_of_a_model_is_measured_once_however_many_come_back(told, stream):
    live, model = Live(), Model()
    app = ChatApp(model.generate, live=live, models=("mine",), telemetry=told.telemetry())
    body = BACKGROUND | {"stream": stream}
    first = Watching(app, RESPONSES, body)
    await first.until(b"resp_")
    answer = first.client.answer
    name = answer.events[0]["response"]["id"] if stream else answer.json["id"]
    others = [Watching(app, f"{RESPONSES}/{name}?stream=true", method="GET") for _ in range(2)]
    for each in others:
        await each.until(b"Hel")
    model.go_on.set()
    for each in (first, *others):
        assert (await each.answer()).status == 200
    await until(lambda: active(told) == (0, 0))
    metrics = told.metrics
    assert metrics["gen_ai.server.request.duration"] == [(MODEL, 1)]
    assert metrics["gen_ai.server.time_to_first_token"] == [(MODEL, 1)]
    completed = {"sse.outcome": "completed"}
    assert metrics["sse.server.generation.duration"] == [(MODEL | completed, 1)]
    assert metrics["sse.server.chunks"] == [(MODEL | completed, 2)]
    assert metrics["sse.server.stream.duration"] == [(completed, 3 if stream else 2)]
    await live.aclose()


async def test_the_app_that_starts_a_generation_measures_it_and_live_where_it_does_not(told):
    mine, model = Told(), Model()
    model.go_on.set()
    live = Live(telemetry=told.telemetry())
    with_its_own = ChatApp(model.generate, live=live, telemetry=mine.telemetry())
    without = ChatApp(model.generate, live=live)
    for app, found, other in ((with_its_own, mine, told), (without, told, mine)):
        before = other.metrics
        await ask(app, AI_SDK, BODIES[AI_SDK])
        await until(lambda found=found: active(found) == (0, 0))
        assert len(found.metrics["sse.server.generation.duration"]) == 1
        assert other.metrics == before
    await live.aclose()


async def test_a_refusal_is_counted_and_other_answers_are_as_without_live(told):
    async def generate(chat):
        raise ChatError(402, "Pay first.")
        yield

    live = Live()
    app = ChatApp(generate, live=live, models=("mine",), telemetry=told.telemetry())
    assert (await ask(app, CHAT, BODIES[CHAT] | {"stream": True})).status == 402
    assert "sse.server.generation.duration" not in told.metrics
    app = ChatApp(Model().generate, live=live, telemetry=told.telemetry(), limits=Limits(1))
    assert [(await ask(app, RESPONSES, BACKGROUND)).status for _ in range(2)] == [200, 429]
    assert told.metrics["sse.server.refused"] == [({}, 1)]
    await live.aclose(drain=0)


@pytest.mark.parametrize("option", ["telemetry", "limits"])
async def test_another_value_for_the_option_raises_at_once(option):
    with pytest.raises(TypeError, match=f"{option} must be a "):
        Live(**{option: True})
