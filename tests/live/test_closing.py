"""Closing and draining: what runs goes on for its time, and nothing holds up the end."""

import asyncio
import contextlib
import itertools
import json
import signal
import time

import pytest

from sse_asgi import Outcome, Shutdown
from sse_asgi.errors import GenerationTooLargeError
from sse_asgi.live import Live, MemoryLog
from sse_asgi.live.events import INTERRUPTED_MESSAGE
from sse_asgi.testing import connect
from tests.live.viewers import paced, until, watch, words

pytestmark = pytest.mark.anyio


async def endless():
    for number in itertools.count():
        yield f"{number} "
        await asyncio.sleep(0.002)


async def for_ever(*_):
    await asyncio.Event().wait()


async def a_hook_that_never_ends():
    live = Live(cleanup_timeout=0.1)
    await live.start(endless, id="g", on_complete=for_ever)
    return live, None


async def a_log_that_takes_no_ending():
    class Stuck(MemoryLog):
        async def finish(self, *arguments):
            await for_ever()

    live, reports = Live(Stuck(), cleanup_timeout=0.1), []
    await live.start(endless, id="g", on_complete=reports.append)
    return live, lambda: reports[0].outcome is Outcome.SHUT_DOWN


async def a_log_that_begins_nothing():
    class Stuck(MemoryLog):
        async def create(self, *arguments, **options):
            await for_ever()

    live = Live(Stuck(), cleanup_timeout=0.1)
    starting = asyncio.create_task(live.start(endless))
    await asyncio.sleep(0.01)
    starting.cancel()
    return live, None


async def a_source_that_will_not_end():
    release, reports = asyncio.Event(), []

    async def source():
        yield "a"
        while not release.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await release.wait()

    live = Live(cleanup_timeout=0.1)
    await live.start(source, id="g", on_complete=reports.append)
    await anext(live.follow("g"))

    def holds():
        release.set()
        return reports[0].text == "a"

    return live, holds


@pytest.mark.parametrize(
    "stuck",
    [
        a_hook_that_never_ends,
        pytest.param(a_log_that_takes_no_ending, marks=pytest.mark.matrix),
        pytest.param(a_log_that_begins_nothing, marks=pytest.mark.matrix),
        a_source_that_will_not_end,
    ],
)
async def test_closing_takes_its_time_and_no_longer(stuck):
    live, holds = await stuck()
    began = time.monotonic()
    async with asyncio.timeout(15):
        await live.aclose(drain=0.2)
    assert time.monotonic() - began >= 0.2
    assert holds is None or holds()
    live._generations.check_open()  # it may be used again


async def test_closed_at_once_a_log_that_takes_a_second_for_each_ending_has_all_of_them():
    class Slow(MemoryLog):
        async def finish(self, *arguments):
            await asyncio.sleep(1.0)
            return await super().finish(*arguments)

    log = Slow()
    live = Live(log)
    for key in "abc":
        await live.start(endless, id=key)
        await anext(live.follow(key))
    await live.aclose(drain=0)
    endings = [(await log.look(key)).ending for key in "abc"]
    assert [ending and ending.outcome for ending in endings] == ["shut_down"] * 3


async def test_closed_at_once_what_is_far_ahead_of_a_slow_log_has_its_ending(monkeypatch):
    class Slow(MemoryLog):
        lease = 60.0

        async def append(self, *arguments):
            await answers.wait()
            return await super().append(*arguments)

    monkeypatch.setattr("sse_asgi.live.writer.BACKLOG", 10)
    log, answers = Slow(), asyncio.Event()
    live = Live(log)
    await live.start(endless, id="g")
    writer = live._generations.producers["g"].writer
    await until(lambda: writer.is_full)
    await asyncio.sleep(0.2)
    assert len(writer.events) < 20  # the source waits for room
    closing = asyncio.create_task(live.aclose(drain=0))
    await asyncio.sleep(1.0)
    answers.set()
    await closing
    assert (await log.look("g")).ending.outcome == "shut_down"


async def test_a_log_that_takes_no_ending_costs_the_end_two_seconds_and_viewers_are_told():
    live, _ = await a_log_that_takes_no_ending()
    watching = asyncio.create_task(watch(live, "/g"))
    await anext(live.follow("g"))
    await live.aclose(drain=0)
    assert len((await watching).errors) == 1


async def test_what_a_source_raises_while_it_is_shut_down_is_no_news_for_viewers():
    async def source():
        try:
            yield "a"
            await for_ever()
        finally:
            raise ValueError("secret")

    live = Live(describe_error=str)
    generation = await live.start(source, id="g")
    watching = asyncio.create_task(watch(live, "/g"))
    await anext(live.follow("g"))
    await live.aclose(drain=0)
    transcript, seen = await generation.transcript(), await watching
    assert (transcript.outcome, str(transcript.error)) == (Outcome.SHUT_DOWN, "secret")
    assert [json.loads(error)["message"] for error in seen.errors] == [INTERRUPTED_MESSAGE]


@contextlib.contextmanager
def a_server_that_can_be_told_to_stop():
    """Have a handler of SIGTERM, as a server has, which the library may stand before."""
    told = []
    before = signal.signal(signal.SIGTERM, lambda *_: told.append(1))
    try:
        yield lambda: signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert told == [1]


async def test_told_to_stop_a_generation_goes_on_and_its_viewers_stay_with_it():
    chunks = words(120)
    live = Live(shutdown=Shutdown(grace=0.05), drain=30)
    with a_server_that_can_be_told_to_stop() as stop:
        generation = await live.start(paced(chunks, 0.005), id="g")
        async with connect(live, "/g") as viewer:
            first = await anext(viewer)
            stop()
            rest = [event.data async for event in viewer]
        assert len(rest) == 120  # and the end marker is the last
        assert rest[-1] == "[DONE]"
        assert first.data
        assert (await generation.transcript()).outcome is Outcome.COMPLETED
        await live.aclose()


async def test_told_to_stop_what_does_not_end_in_time_is_ended_and_its_viewers_are_told():
    live = Live(shutdown=Shutdown(grace=0.05), drain=0.3)
    with a_server_that_can_be_told_to_stop() as stop:
        generation = await live.start(endless, id="g")
        watching = asyncio.create_task(watch(live, "/g"))
        await anext(live.follow("g"))
        began = time.monotonic()
        stop()
        async with asyncio.timeout(20):
            transcript, seen = await generation.transcript(), await watching
        assert time.monotonic() - began > 0.25
        assert transcript.outcome is Outcome.SHUT_DOWN
        assert (seen.text, len(seen.errors)) == (transcript.text, 1)
        await live.aclose()


async def test_told_to_stop_viewers_of_what_runs_elsewhere_are_let_go_after_their_grace():
    log = MemoryLog()
    here, elsewhere = Live(log, drain=30), Live(log, shutdown=Shutdown(grace=0.1), drain=30)
    with a_server_that_can_be_told_to_stop() as stop:
        generation = await here.start(endless, id="g")
        async with connect(elsewhere, "/g") as viewer, asyncio.timeout(20):
            await anext(viewer)
            stop()
            seen = [event async for event in viewer]  # ends though the generation does not
        assert all(event.type == "message" for event in seen)
        assert not generation._ended.done()
        await here.aclose(drain=0)
        await elsewhere.aclose()


async def test_without_a_shutdown_nobody_is_told_before_the_close():
    live = Live(shutdown=None, drain=0)
    with a_server_that_can_be_told_to_stop() as stop:
        await live.start(endless, id="g")
        async with connect(live, "/g") as viewer:
            await anext(viewer)
            stop()
            for _ in range(50):
                assert (await anext(viewer)).type == "message"
    await live.aclose(drain=0)


def test_no_handler_of_a_signal_is_left_over():
    before = signal.getsignal(signal.SIGTERM)

    async def main():
        live = Live()
        await (await live.start(["a"])).transcript()
        await live.aclose()

    asyncio.run(main())
    assert signal.getsignal(signal.SIGTERM) is before


async def test_what_runs_in_one_process_is_bounded_together():
    live = Live(max_total_bytes=20_000)
    hold = asyncio.Event()

    async def source():
        yield "x" * 9000
        await hold.wait()

    first, second = [await live.start(source) for _ in "ab"]
    await until(lambda: all(_size_of(live, each) for each in (first, second)))
    third = await (await live.start(source)).transcript()
    assert isinstance(third.error, GenerationTooLargeError)
    assert "max_total_bytes" in str(third.error)
    assert third.sent_chunks == 0
    hold.set()
    assert {(await each.transcript()).outcome for each in (first, second)} == {Outcome.COMPLETED}
    again = await (await live.start(source)).transcript()  # there is room again
    assert again.outcome is Outcome.COMPLETED
    await live.aclose()


def _size_of(live, generation):
    return len(live._generations.producers[generation.id].writer.events)


async def test_appends_are_bounded_in_bytes_and_events():
    class Slow(MemoryLog):
        lease = 60.0
        sizes = ()

        async def append(self, key, token, prev, events):
            await produced.wait()  # so that everything after the first chunk waits
            self.sizes = (*self.sizes, list(map(len, events)))
            return await super().append(key, token, prev, events)

    produced = asyncio.Event()
    chunks = ["x" * 10] * 2000 + ["y" * 1000] * 500 + ["z" * 100_000] * 2

    async def source():
        for chunk in chunks:
            yield chunk
            await asyncio.sleep(0)
        produced.set()

    log = Slow()
    live = Live(log)
    generation = await live.start(source)
    assert (await generation.transcript()).text == "".join(chunks)
    assert all(sum(each) <= 65_536 or len(each) == 1 for each in log.sizes)
    assert all(len(each) <= 512 for each in log.sizes)
    assert len(log.sizes) < 20  # and as full as that allows
    await live.aclose()
