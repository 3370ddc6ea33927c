"""What clients are told when a generation of another process, or their own connection, is cut."""

import asyncio
from contextlib import aclosing

import pytest

from sse_asgi import Shutdown
from sse_asgi.chat import ChatApp
from sse_asgi.live import INTERRUPTED, LOST, Batch, Ending, Live, MemoryLog
from tests.chat.asking import AG_UI, AI_SDK, BODIES, RESPONSES, ask
from tests.chat.watching import Model, Watching

pytestmark = pytest.mark.anyio

BACKGROUND = {**BODIES[RESPONSES], "background": True}
STREAM = {**BACKGROUND, "stream": True}
CUT = "The generation was interrupted."
STOPS = "The server is shutting down."
WATCHED = {AI_SDK: BODIES[AI_SDK], AG_UI: BODIES[AG_UI], RESPONSES: STREAM}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


class Shared(MemoryLog):
    """A log that says of another process's generation that it was cut, while it goes on."""

    seen = told = None  # the ending that those who look, and those who follow, are told

    async def look(self, key):
        head = await super().look(key)
        return head and head._replace(ending=self.seen or head.ending)

    async def follow(self, key, token, after):
        if self.told:
            yield Batch(after, (), self.told)
            return
        async with aclosing(super().follow(key, token, after)) as batches:
            async for batch in batches:
                yield batch


@pytest.fixture
async def model():
    return Model()


async def silent(chat):
    await asyncio.Event().wait()
    yield "never"


@pytest.fixture
def log():
    return Shared()


@pytest.fixture
async def there(log, model):
    """An app of another process, in which the generation runs."""
    live = Live(log)
    yield ChatApp(model.generate, live=live, on_complete=model.complete)
    model.go_on.set()
    log.seen = log.told = None
    await live.aclose(drain=0)


@pytest.fixture
def shutdown():
    return Shutdown(grace=0, signals=False)


@pytest.fixture
async def here(log, model, shutdown):
    """An app of this process, whose clients watch."""
    live = Live(log, shutdown=shutdown)
    yield ChatApp(model.generate, live=live)
    await live.aclose(drain=0)


async def begin(there, path):
    """Start a generation; return the address at which it is watched."""
    first = Watching(there, path, WATCHED[path])
    await first.until(b"Hel")
    await first.leave()
    if path == AI_SDK:
        return f"{AI_SDK}/{BODIES[AI_SDK]['id']}/stream"
    if path == AG_UI:
        return f"{AG_UI}?runId={BODIES[AG_UI]['runId']}"
    return f"{RESPONSES}/{first.client.answer.events[0]['response']['id']}?stream=true"


async def cut(here, there, log, path, outcome):
    """Return what a client is sent whose generation is cut while it watches."""
    address = await begin(there, path)
    log.told = Ending(outcome)
    return await Watching(here, address, method="GET").answer()


@pytest.mark.parametrize("outcome", [INTERRUPTED, LOST])
async def test_ai_sdk_is_told_of_each_cut(here, there, log, outcome):
    answer = await cut(here, there, log, AI_SDK, outcome)
    assert answer.events[-2]["delta"] == "Hel"
    assert answer.events[-1] == {"type": "error", "errorText": CUT}


async def test_ag_ui_is_told_that_the_run_is_dead(here, there, log):
    answer = await cut(here, there, log, AG_UI, INTERRUPTED)
    assert answer.events[-2]["delta"] == "Hel"
    assert (answer.events[-1]["type"], answer.events[-1]["message"]) == ("RUN_ERROR", CUT)


async def test_ag_ui_comes_back_to_a_run_that_may_go_on(here, there, log):
    answer = await cut(here, there, log, AG_UI, LOST)
    assert answer.events[-1]["delta"] == "Hel"
    assert answer.text.endswith("\n\n: to be continued\n")


async def test_a_response_that_is_dead_has_failed(here, there, log):
    answer = await cut(here, there, log, RESPONSES, INTERRUPTED)
    *_, delta, error, failed = answer.events
    assert (delta["delta"], error["type"], failed["type"]) == ("Hel", "error", "response.failed")
    assert error["error"]["message"] == failed["response"]["error"]["message"] == CUT
    assert failed["response"]["status"] == "failed"
    numbers = [each["sequence_number"] for each in answer.events]
    assert numbers == list(range(len(numbers)))
    assert answer.text.endswith("data: [DONE]\n\n")


async def test_a_response_that_may_go_on_is_asked_for_from_the_last_number(here, there, log):
    answer = await cut(here, there, log, RESPONSES, LOST)
    *_, delta, error = answer.events
    assert (delta["delta"], error["type"], error["error"]["message"]) == ("Hel", "error", CUT)
    assert error["sequence_number"] == delta["sequence_number"]
    assert "[DONE]" not in answer.text


@pytest.mark.parametrize("has_spoken", [True, False])
async def test_a_response_whose_process_died_is_read_as_failed(here, log, model, has_spoken):
    live = Live(log)
    there = ChatApp(model.generate if has_spoken else silent, live=live)
    begun = (await ask(there, RESPONSES, BACKGROUND)).json
    log.seen = log.told = Ending(INTERRUPTED)
    response = (await ask(here, f"{RESPONSES}/{begun['id']}", method="GET")).json
    assert (response["id"], response["status"]) == (begun["id"], "failed")
    assert (response["output"], response["error"]["message"]) == ([], CUT)
    log.seen = log.told = None
    await live.aclose(drain=0)


@pytest.mark.parametrize("path", WATCHED)
async def test_a_stop_here_lets_go_of_what_runs_elsewhere(here, there, model, shutdown, path):
    watching = Watching(here, await begin(there, path), method="GET")
    await watching.until(b"Hel")
    shutdown.begin()
    answer = await watching.answer()
    if path == AG_UI:
        assert answer.text.endswith("\n\n: to be continued\n")
    elif path == AI_SDK:
        assert answer.events[-1] == {"type": "error", "errorText": STOPS}
    else:
        assert answer.events[-1]["error"]["message"] == STOPS
        assert answer.events[-1]["sequence_number"] == answer.events[-2]["sequence_number"]
    assert not model.told  # it goes on there
