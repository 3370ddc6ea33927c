"""`on_interrupted`: told once of a generation whose process died, with what the log has of it."""

import asyncio
import logging

import pytest

from sse_asgi import JSONFraming, Outcome, Reasoning
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.live import INTERRUPTED, Ending, GenerationInterruptedError, Live, MemoryLog
from sse_asgi.wire.text_framing import TextFraming
from tests.live.viewers import TEXT, until

pytestmark = pytest.mark.anyio


class Mortal(MemoryLog):
    """A log that can find a producer dead."""

    async def bury(self, key):
        head = await self.look(key)
        ack = await self.finish(key, head.token, head.last, (), Ending(INTERRUPTED))
        assert ack.tail == head.last
        self.on_buried(key, head.token)


async def source():
    yield Reasoning("so")
    yield "one "
    yield "two"
    await asyncio.Event().wait()


async def interrupted(log, framing=TEXT, **options):
    """Start a generation in one process, and find it dead in another."""
    here, elsewhere = Live(log), Live(log, **options)
    await here.start(source, id="g", framing=framing)
    await until(lambda: len(log._generations["g"].events) >= 3)
    await log.bury("g")
    return here, elsewhere


@pytest.mark.parametrize(
    "framing",
    [
        TextFraming(),
        TextFraming(done=None),
        JSONFraming(),
        ChatCompletions("m"),
        Responses("m"),
        AnthropicMessages("m"),
        UIMessages(),
        AGUI(thread_id="t", run_id="r"),
    ],
    ids=repr,
)
async def test_it_is_told_once_with_what_the_log_has(framing):
    """Also of a framing that this process has not used before."""
    told = []
    here, elsewhere = await interrupted(Mortal(), framing, on_interrupted=told.append)
    await until(lambda: told)
    for _ in range(3):
        assert [each.type async for each in elsewhere.follow("g")][-1] == "error"
    (transcript,) = told
    assert (transcript.text, transcript.outcome) == ("one two", Outcome.FAILED)
    assert isinstance(transcript.error, GenerationInterruptedError)
    assert transcript.parts == (Reasoning("so"),)
    await here.aclose(drain=0)
    await elsewhere.aclose()


class Own(JSONFraming):
    """A framing of the application's."""


async def test_a_framing_of_ones_own_is_known_where_it_has_been_used():
    told = []
    log = Mortal()
    other = Live(log, on_interrupted=told.append)
    await (await other.start(["a"], framing=Own())).transcript()
    here = Live(log)
    await here.start(source, id="g", framing=Own())
    await until(lambda: len(log._generations["g"].events) >= 3)
    await log.bury("g")
    await until(lambda: told)
    assert told[0].text == "one two"
    await here.aclose(drain=0)
    await other.aclose()


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_hook_that_takes_two_is_given_the_generation(is_async):
    told = []

    def hook(transcript, generation):
        told.append((transcript.text, generation.id, generation.started))

    async def hook_later(transcript, generation):
        await asyncio.sleep(0)
        hook(transcript, generation)

    here, elsewhere = await interrupted(Mortal(), on_interrupted=hook_later if is_async else hook)
    await elsewhere.aclose()  # waits for the hook
    assert told == [("one two", "g", False)]
    await here.aclose(drain=0)


async def test_a_hook_that_raises_is_logged_and_harms_nobody(caplog):
    def hook(transcript):
        raise ValueError("no database")

    here, elsewhere = await interrupted(Mortal(), on_interrupted=hook)
    await elsewhere.aclose()
    assert "on_interrupted raised" in caplog.text
    assert "one two" not in caplog.text
    assert caplog.records[-1].levelno == logging.ERROR
    assert [each.type async for each in elsewhere.follow("g")][-1] == "error"
    await here.aclose(drain=0)


async def test_it_is_not_told_of_what_ended_in_its_process():
    told = []
    live = Live(Mortal(), on_interrupted=told.append)
    await (await live.start(["a"])).transcript()
    generation = await live.start(source)
    await live.aclose(drain=0)
    assert (await generation.transcript()).outcome is Outcome.SHUT_DOWN
    assert told == []


@pytest.mark.parametrize("hook", [5, lambda: None])
def test_what_cannot_be_called_with_a_transcript_is_refused(hook):
    with pytest.raises(TypeError, match="on_interrupted"):
        Live(on_interrupted=hook)
