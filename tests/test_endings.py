"""A thousand streams in process, in all kinds of ends; a quarter of them without --all.

Whatever happens: `on_complete` is called once, with the right outcome; what was produced, sent
and received fit together; the messages to the server are in order; no task is left.
"""

import asyncio
import contextlib
import math

import anyio
import pytest

from sse_asgi import Outcome
from tests.stage import PlannedError, Stage, check, do_nothing, endless, live, living_tasks, on_trio
from tests.stream.peer import logged_errors, logged_into

STREAMS = 1_000
AT_ONCE = 20
SOON = 0.02  # seconds, for deadlines that the stream is to miss
LATE = 0.5  # seconds, for one that other sends are to keep on a machine that stalls
KINDS = {}

pytestmark = pytest.mark.anyio


def kind(function):
    KINDS[function.__name__] = function
    return function


# The kinds of ends


@kind
def completes(stage):
    pass


@kind
def completes_with_keep_alives_between(stage):
    stage.options["heartbeat"] = 0.001
    stage.after_chunks = lambda: anyio.sleep(0.005)


@kind
def source_raises(stage):
    stage.outcome, stage.raises = Outcome.FAILED, PlannedError

    async def fail():
        raise PlannedError

    stage.after_chunks = fail


@kind
def source_raises_in_finally(stage):
    stage.outcome, stage.raises = Outcome.FAILED, PlannedError

    async def fail():
        raise PlannedError

    stage.cleans_up, stage.in_finally = {False}, fail


@kind
def source_yields_what_is_no_chunk(stage):
    stage.outcome, stage.raises = Outcome.FAILED, TypeError

    async def generate(request):
        async for chunk in stage.generate(request):
            yield chunk
        yield stage.chance.choice([1, b"bytes", ["list"], object()])

    stage.source = generate


@kind
def callable_raises(stage):
    stage.outcome, stage.raises = Outcome.FAILED, PlannedError

    async def refuse(request):
        await stage.wait_a_little()
        raise PlannedError

    stage.source = refuse


@kind
def callable_is_async_and_returns_a_list(stage):
    async def answer(request):
        await stage.wait_a_little()
        stage.produced += stage.chunks
        return stage.chunks

    stage.source = answer


@kind
def source_is_an_iterator_without_aclose(stage):
    class Iterator:
        def __init__(self):
            self.chunks = iter(stage.chunks)

        def __aiter__(self):
            return self

        async def __anext__(self):
            await stage.wait_a_little()
            for chunk in self.chunks:
                stage.produced.append(chunk)
                return chunk
            raise StopAsyncIteration

    stage.source = lambda request: Iterator()


@kind
def task_in_source_fails(stage):
    stage.outcome, stage.raises = Outcome.FAILED, ExceptionGroup

    async def fail():
        await stage.wait_a_little()
        raise PlannedError

    async def wait_in_group():
        async with anyio.create_task_group() as group:
            group.start_soon(fail)
            await anyio.sleep_forever()

    stage.after_chunks = wait_in_group


@kind
def source_has_timeouts_of_its_own(stage):
    async def time_out():
        for _ in range(3):
            with anyio.move_on_after(0.001):
                await anyio.sleep_forever()

    async def send_slowly(message):
        await anyio.sleep(0.003)  # longer than the source's timeouts
        await send(message)

    send, stage.send = stage.send, send_slowly
    stage.after_chunks = time_out


@kind
def source_has_timeouts_around_its_yields(stage):
    stage.source, stage.rounds = stage.generate_with_timeouts, stage.chance.randrange(1, 6)
    stage.may_fail = True
    stage.options["on_chunk"] = stage.chance.choice([None, stage.listen])


@kind
def client_leaves_a_source_with_timeouts_around_its_yields(stage):
    source_has_timeouts_around_its_yields(stage)
    stage.rounds = math.inf
    stage.outcome, stage.outside = Outcome.DISCONNECTED, stage.leave


@kind
def server_cancels_a_source_with_timeouts_around_its_yields(stage):
    source_has_timeouts_around_its_yields(stage)
    stage.rounds = math.inf
    server_cancels(stage)


@kind
def source_with_timeouts_around_its_yields_fails(stage):
    source_has_timeouts_around_its_yields(stage)
    source_raises(stage)


@kind
def client_leaves_before_first_chunk(stage):
    stage.outcome, stage.outside, stage.chunks = Outcome.DISCONNECTED, stage.leave, []
    stage.after_chunks = anyio.sleep_forever


@kind
def client_leaves_while_source_idles(stage):
    stage.outcome = Outcome.DISCONNECTED

    async def idle():
        stage.gone.set()
        await anyio.sleep_forever()

    stage.after_chunks = idle


@kind
def client_leaves_at_any_moment(stage):
    stage.outcome, stage.outside = Outcome.DISCONNECTED, stage.leave
    stage.chunks = endless(stage)


@kind
def client_leaves_a_hot_source(stage):
    stage.outcome, stage.outside = Outcome.DISCONNECTED, stage.leave
    stage.chunks, stage.wait_a_little = endless(stage), do_nothing


@kind
def client_leaves_while_send_is_blocked(stage):
    stage.outcome = Outcome.DISCONNECTED
    stage.after_chunks = anyio.sleep_forever

    async def block():
        for _ in range(stage.chance.randrange(3)):
            await anyio.sleep(0)
        stage.gone.set()
        await anyio.sleep_forever()

    stage.chunks = endless(stage)
    stage.fault, stage.fault_at = block, stage.chance.randrange(8)


@kind
def client_leaves_and_blocked_send_returns(stage):
    stage.outcome = Outcome.DISCONNECTED

    async def block():
        stage.gone.set()
        for _ in range(stage.chance.randrange(3)):
            await anyio.sleep(0)

    stage.chunks, stage.after_chunks = endless(stage), anyio.sleep_forever
    stage.fault, stage.fault_at = block, stage.chance.randrange(8)


@kind
def client_leaves_and_finally_raises(stage):
    client_leaves_at_any_moment(stage)

    async def fail():
        raise PlannedError

    stage.cleans_up, stage.in_finally = {False}, fail


@kind
def client_leaves_and_finally_never_ends(stage):
    client_leaves_at_any_moment(stage)
    stage.options["cleanup_timeout"] = SOON
    stage.cleans_up, stage.in_finally = {False}, anyio.sleep_forever


@kind
def client_leaves_and_source_goes_on(stage):
    client_leaves_at_any_moment(stage)
    if on_trio():
        return  # to swallow `trio.Cancelled` and go on is against trio's rules

    async def generate(request):
        while True:
            with contextlib.suppress(asyncio.CancelledError):
                await anyio.sleep(0.001)
            stage.produced.append("again")
            yield "again"

    stage.source = generate


@kind
def client_leaves_during_prefetch(stage):
    client_leaves_before_first_chunk(stage)
    stage.options["prefetch"] = True


@kind
def prefetch_then_completes(stage):
    stage.options["prefetch"] = True


@kind
def prefetch_fails(stage):
    stage.outcome, stage.raises, stage.chunks = Outcome.FAILED, PlannedError, []
    stage.options["prefetch"] = True

    async def fail():
        raise PlannedError

    stage.after_chunks = fail


@kind
def send_raises_oserror(stage):
    async def fail():
        stage.outcome = Outcome.DISCONNECTED
        raise BrokenPipeError

    stage.fault, stage.fault_at = fail, stage.chance.randrange(8)


@kind
def send_raises_something_else(stage):
    async def fail():
        stage.outcome, stage.raises = Outcome.FAILED, PlannedError
        raise PlannedError

    stage.fault, stage.fault_at = fail, stage.chance.randrange(8)


@kind
def send_never_returns(stage):
    async def hang():
        stage.outcome = Outcome.TIMED_OUT
        await anyio.sleep_forever()

    stage.options["send_timeout"] = LATE
    stage.fault, stage.fault_at = hang, stage.chance.randrange(8)


@kind
def server_cancels(stage):
    stage.outcome, stage.chunks = Outcome.SHUT_DOWN, endless(stage)

    async def cancel():
        while not stage.messages:
            await anyio.sleep(0)
        for _ in range(stage.chance.randrange(20)):
            await anyio.sleep(stage.chance.choice([0, 0, 0.001]))
        stage.cancelled = True
        stage.cancel()

    stage.outside = cancel


@kind
def scope_around_the_server_cancels(stage):
    server_cancels(stage)
    stage.in_scope = True
    stage.cleans_up = {False, True}  # anyio's scopes cancel every await that nobody shields


@kind
def server_cancels_while_send_is_blocked(stage):
    stage.outcome, stage.chunks = Outcome.SHUT_DOWN, endless(stage)

    async def block():
        stage.cancelled = True
        stage.cancel()
        await anyio.sleep_forever()

    stage.fault, stage.fault_at = block, stage.chance.randrange(1, 8)


@kind
def on_chunk_raises(stage):
    stage.chunks = ["a", "b", "c", "d"]
    stage.outcome, stage.raises = Outcome.FAILED, PlannedError
    poison = stage.chance.choice(stage.chunks)

    def on_chunk(chunk):
        if chunk == poison:
            raise PlannedError

    async def on_chunk_later(chunk):
        await stage.wait_a_little()
        on_chunk(chunk)

    stage.options["on_chunk"] = stage.chance.choice([on_chunk, on_chunk_later])


@kind
def on_complete_raises(stage):
    def on_complete(transcript):
        stage.transcripts.append(transcript)
        raise PlannedError

    async def on_complete_later(transcript):
        await stage.wait_a_little()
        on_complete(transcript)

    stage.on_complete = stage.chance.choice([on_complete, on_complete_later])


@kind
def thread_completes(stage):
    stage.source = stage.generate_in_thread


@kind
def thread_raises(stage):
    stage.source = stage.generate_in_thread
    stage.outcome, stage.raises = Outcome.FAILED, PlannedError


@kind
def client_leaves_thread(stage):
    client_leaves_at_any_moment(stage)
    stage.source = stage.generate_in_thread


@pytest.mark.real_pauses
@pytest.mark.parametrize("name", KINDS)
async def test_every_end_is_reported_once_with_consistent_texts(name, request):
    tasks = living_tasks()
    limit = anyio.CapacityLimiter(AT_ONCE)

    async def one(stage):
        async with limit:
            KINDS[name](stage)
            await live(stage)

    streams = STREAMS if request.config.option.all_tests else STREAMS // 4
    stages = [Stage(f"{name}, seed {seed}") for seed in range(streams // len(KINDS) + 1)]
    with logged_into([]) as records:
        async with anyio.create_task_group() as group:
            for stage in stages:
                group.start_soon(one, stage)
    logged = logged_errors(records)
    for stage in stages:
        check(stage, logged)
    await until(lambda: living_tasks() <= tasks)


async def until(condition):
    with anyio.fail_after(5):
        while not condition():
            await anyio.sleep(0.001)
