"""The heartbeat: leases go on while anything runs, and no faster than they must."""

import asyncio
import time
from types import SimpleNamespace

import pytest

from sse_asgi import Outcome
from sse_asgi.errors import LogError, LogUnavailableError
from sse_asgi.live import Live, MemoryLog
from tests.live.viewers import paced, until, watch

pytestmark = pytest.mark.anyio


class Beaten(MemoryLog):
    """A log that notes whom it hears of."""

    def __init__(self, lease=0.3):
        super().__init__()
        self.lease = lease
        self.beats = []

    async def beat(self, tokens):
        self.beats.append(set(tokens))
        return await super().beat(tokens)


async def silence():
    yield "a"
    await asyncio.Event().wait()


@pytest.mark.parametrize("turns", range(10))
async def test_leases_go_on_when_one_generation_ends_as_another_begins(turns):
    """Whichever turn of the loop it is: one of them is that in which the last one is forgotten."""
    ending = asyncio.Event()

    class Timed(Beaten):
        async def create(self, key, *arguments, **options):
            created = await super().create(key, *arguments, **options)
            if key == "second":
                await ending.wait()
                for _ in range(turns):
                    await asyncio.sleep(0)
            return created

        async def finish(self, *arguments):
            ending.set()
            return await super().finish(*arguments)

    log = Timed()
    live = Live(log)
    release = asyncio.Event()

    async def first():
        yield "a"
        await release.wait()

    await live.start(first, id="first")
    beginning = asyncio.create_task(live.start(silence, id="second"))
    await until(lambda: len(log.beats) > 0)
    release.set()
    await beginning
    log.beats.clear()
    await until(lambda: log.beats.count({"second"}) > 1)
    await live.aclose(drain=0)


async def test_one_heartbeat_beats_for_all():
    log = Beaten()
    live = Live(log)
    for key in "gh":
        await live.start(silence, id=key)
    log.beats.clear()
    began = time.monotonic()
    await until(lambda: len(log.beats) >= 4)
    assert len(log.beats) <= (time.monotonic() - began) / (log.lease / 6) + 1
    await live.aclose(drain=0)


async def test_beats_come_no_faster_than_their_interval():
    log = Beaten(lease=0.6)
    live = Live(log)
    began = time.monotonic()
    await live.start(silence, id="g")
    await until(lambda: len(log.beats) >= 5)
    assert len(log.beats) <= (time.monotonic() - began) / 0.1 + 1
    await live.aclose(drain=0)


async def test_nothing_beats_when_nothing_runs():
    log = Beaten()
    live = Live(log)
    await (await live.start(["a"])).transcript()
    await until(lambda: not any("beats" in each.get_name() for each in asyncio.all_tasks()))
    await live.aclose()


async def test_a_log_that_is_out_of_reach_for_a_lease_loses_even_a_silent_generation():
    class Away(Beaten):
        away = False

        async def beat(self, tokens):
            if self.away:
                raise LogUnavailableError("gone")
            return await super().beat(tokens)

    log = Away()
    live = Live(log)
    generation = await live.start(silence, id="g")
    await until(lambda: len(log.beats) > 1)
    log.away = True
    began = time.monotonic()
    async with asyncio.timeout(10):
        transcript = await generation.transcript()
    assert time.monotonic() - began > log.lease / 2
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(transcript.error, LogError)
    await live.aclose(drain=0)


async def test_a_log_that_fails_now_and_then_for_longer_than_a_lease_loses_nothing():
    class Shaky(MemoryLog):
        lease = 0.3
        appends = 0

        async def append(self, *arguments):
            self.appends += 1
            if self.appends % 2:
                raise LogUnavailableError("gone")
            return await super().append(*arguments)

    live = Live(Shaky())
    generation = await live.start(paced(["a"] * 60, 0.02), id="g")
    transcript = await generation.transcript()
    assert (transcript.outcome, transcript.sent_chunks) == (Outcome.COMPLETED, 60)
    assert (await watch(live, "/g")).text == "a" * 60
    await live.aclose()


async def test_what_a_log_lost_of_a_silent_generation_is_appended_again():
    log = MemoryLog()
    live = Live(log)
    await live.start(silence, id="g")
    await until(lambda: len(log._generations["g"].events) == 1)
    log._generations["g"].events.clear()
    await until(lambda: len(log._generations["g"].events) == 1)
    await live.aclose(drain=0)


class ByTheClock(MemoryLog):
    """A log whose beats take so many seconds each by the clock of the test; some get no answer."""

    lease = 0.3

    def __init__(self, monkeypatch, beats):
        super().__init__()
        self.now = 1000.0
        self.beats = iter(beats)
        clock = SimpleNamespace(monotonic=lambda: self.now)
        monkeypatch.setattr("sse_asgi.live.outage.time", clock)
        monkeypatch.setattr("sse_asgi.live.generations.time", clock)

    async def beat(self, tokens):
        seconds, answers = next(self.beats, (0.0, True))
        self.now += seconds
        if not answers:
            raise LogUnavailableError("gone")
        return await super().beat(tokens)


async def test_beats_that_fail_now_and_then_for_longer_than_a_lease_lose_nothing(monkeypatch):
    log = ByTheClock(monkeypatch, [(0.1, number % 2 == 0) for number in range(20)])
    live = Live(log)
    generation = await live.start(silence, id="g")
    await until(lambda: log.now > 1001.9)
    assert not generation._ended.done()
    await live.aclose(drain=0)
    assert (await generation.transcript()).outcome is Outcome.SHUT_DOWN


async def test_a_beat_that_takes_a_lease_to_fail_has_lost_what_runs(monkeypatch):
    """By then others take its generations for dead: their leases go back to the beat before."""
    log = ByTheClock(monkeypatch, [(0.1, True), (0.31, False)])
    live = Live(log)
    generation = await live.start(silence, id="g")
    async with asyncio.timeout(10):
        transcript = await generation.transcript()
    assert transcript.outcome is Outcome.FAILED
    assert isinstance(transcript.error, LogUnavailableError)
    await live.aclose(drain=0)


async def test_a_beat_that_fails_sooner_than_that_has_lost_nothing(monkeypatch):
    log = ByTheClock(monkeypatch, [(0.1, True), (0.29, False), (0.1, True)])
    live = Live(log)
    generation = await live.start(silence, id="g")
    await until(lambda: log.now > 1000.48)
    assert not generation._ended.done()
    await live.aclose(drain=0)
