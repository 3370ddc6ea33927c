"""Bounded live answers: a place is taken by what starts one, and kept until that has ended."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sse_asgi import Outcome
from sse_asgi.chat import ChatApp, ChatError
from sse_asgi.limits import Limits
from sse_asgi.live import Live, LogUnavailableError, MemoryLog
from tests.chat.asking import AG_UI, AI_SDK, BODIES, RESPONSES, ask, error_of
from tests.chat.watching import Model, Watching
from tests.live.viewers import until

pytestmark = pytest.mark.anyio

BACKGROUND = {**BODIES[RESPONSES], "background": True}
STARTING = {
    AI_SDK: BODIES[AI_SDK],
    AG_UI: BODIES[AG_UI],
    RESPONSES: {**BACKGROUND, "stream": True},
}
"""What starts a live answer of each dialect, and streams it."""

USERS = {"Bearer ann": "ann", "Bearer bob": "bob"}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


@pytest.fixture
async def model():
    return Model()


@pytest.fixture
async def live():
    live = Live()
    yield live
    await live.aclose(drain=0)


def taken(limits):
    return limits._places._open


def another(path, number=2):
    """Return a request for another answer than that of `STARTING`."""
    return STARTING[path] | ({"runId": f"r{number}"} if path == AG_UI else {})


@pytest.mark.parametrize("path", STARTING)
async def test_above_the_bound_no_answer_is_started(path, live, model):
    limits = Limits(1)
    app = ChatApp(model.generate, live=live, limits=limits, headers={"x-mine": "1"})
    first = Watching(app, path, STARTING[path])
    await first.until(b"Hel")
    refused = await ask(app, path, another(path))
    assert refused.status == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.headers["x-mine"] == "1"
    assert "as many streams open" in error_of(path, refused)
    assert model.calls == 1
    model.go_on.set()
    await first.answer()
    assert taken(limits) == 0
    assert (await ask(app, path, another(path))).status == 200


@pytest.mark.parametrize("path", STARTING)
async def test_an_answer_keeps_its_place_without_its_client(path, live, model):
    limits = Limits(1)
    app = ChatApp(model.generate, live=live, limits=limits, on_complete=model.complete)
    first = Watching(app, path, STARTING[path])
    await first.until(b"Hel")
    await first.leave()
    assert (await ask(app, path, another(path))).status == 429
    assert taken(limits) == 1
    model.go_on.set()
    await model.all_told()
    assert taken(limits) == 0


async def test_one_that_is_not_streamed_has_a_place_too(live, model):
    limits = Limits(1)
    app = ChatApp(model.generate, live=live, limits=limits)
    assert (await ask(app, RESPONSES, BACKGROUND)).json["status"] == "in_progress"
    assert (await ask(app, RESPONSES, BACKGROUND)).status == 429
    assert taken(limits) == 1


async def test_whoever_comes_back_or_joins_needs_no_place(live, model):
    limits = Limits(3)
    app = ChatApp(model.generate, live=live, limits=limits)
    first = [Watching(app, path, body) for path, body in STARTING.items()]
    for each in first:
        await each.until(b"Hel")
    assert (await ask(app, AI_SDK, BODIES[AI_SDK])).status == 429
    name = first[2].client.answer.events[0]["response"]["id"]
    others = [
        Watching(app, f"{AI_SDK}/chat-1/stream", method="GET"),
        Watching(app, AG_UI, BODIES[AG_UI]),
        Watching(app, AG_UI, BODIES[AG_UI], headers={"last-event-id": "x:0"}),
        Watching(app, f"{AG_UI}?offset=-1&runId=r", method="GET"),
        Watching(app, f"{RESPONSES}/{name}?stream=true", method="GET"),
    ]
    for each in others:
        await each.until(b"Hel")
    assert taken(limits) == 3
    assert (await ask(app, f"{RESPONSES}/{name}", method="GET")).status == 200
    model.go_on.set()
    for each in (*first, *others):
        assert (await each.answer()).status == 200
    assert model.calls == 3
    assert taken(limits) == 0


async def test_each_user_has_a_share(live, model):
    limits = Limits(per=lambda request: request.headers["authorization"], each=1)
    app = ChatApp(
        model.generate,
        live=live,
        limits=limits,
        authorize=lambda request: USERS.get(request.headers.get("authorization")),
    )
    for name, status in (("ann", 200), ("ann", 429), ("bob", 200)):
        headers = {"authorization": f"Bearer {name}"}
        assert (await ask(app, RESPONSES, BACKGROUND, headers=headers)).status == status
    assert (await ask(app, RESPONSES, BACKGROUND)).status == 401
    assert taken(limits) == 2


async def test_a_stop_frees_the_place(live, model):
    limits = Limits(1)
    app = ChatApp(model.generate, live=live, limits=limits)
    watching = Watching(app, AG_UI, BODIES[AG_UI])
    await watching.until(b"Hel")
    assert (await ask(app, f"{AG_UI}/r/stop")).status == 204
    await watching.answer()
    assert taken(limits) == 0


async def test_what_fails_frees_its_place(live):
    async def generate(chat):
        raise ChatError(402, "Pay first.")
        yield

    limits = Limits(1)
    app = ChatApp(generate, live=live, limits=limits)
    for path in (AI_SDK, AG_UI):
        for number in range(3):
            assert (await ask(app, path, another(path, number))).status == 402
    assert taken(limits) == 0


async def test_a_source_that_does_not_end_keeps_its_place(model):
    held = asyncio.Event()

    async def generate(chat):
        try:
            yield "Hel"
            await asyncio.Event().wait()
        finally:
            await held.wait()

    live, limits = Live(cleanup_timeout=0.05), Limits(1)
    app = ChatApp(generate, live=live, limits=limits)
    watching = Watching(app, AG_UI, BODIES[AG_UI])
    await watching.until(b"Hel")
    await ask(app, f"{AG_UI}/r/stop")
    await watching.answer()
    assert taken(limits) == 1
    held.set()
    await until(lambda: taken(limits) == 0)
    await live.aclose(drain=0)


class Away(MemoryLog):
    """A log that begins nothing, or only later."""

    def __init__(self):
        super().__init__()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.is_away = False

    async def create(self, key, token, meta, *, keep):
        self.asked.set()
        await self.answers.wait()
        if self.is_away:
            raise LogUnavailableError("away")
        return await super().create(key, token, meta, keep=keep)


async def test_a_log_out_of_reach_takes_no_place(model):
    log, limits = Away(), Limits(1)
    log.is_away = True
    log.answers.set()
    app = ChatApp(model.generate, live=Live(log), limits=limits)
    for path, body in STARTING.items():
        assert (await ask(app, path, body)).status == 503
        assert taken(limits) == 0


@pytest.mark.parametrize("is_away", [True, False])
async def test_a_client_cut_off_on_the_way_to_the_log_leaves_the_place_to_what_begins(
    model, is_away
):
    log, limits = Away(), Limits(1)
    log.is_away = is_away
    live = Live(log)
    app = ChatApp(model.generate, live=live, limits=limits, on_complete=model.complete)
    watching = Watching(app, AG_UI, BODIES[AG_UI])
    await log.asked.wait()
    watching.task.cancel()
    await asyncio.wait([watching.task])
    assert taken(limits) == 1
    log.answers.set()
    if is_away:
        await until(lambda: taken(limits) == 0)
        assert model.calls == 0
        return
    await until(lambda: model.calls)
    assert taken(limits) == 1
    model.go_on.set()
    assert await model.all_told() == [("Hello", Outcome.COMPLETED, "ag_ui")]
    assert taken(limits) == 0
    await live.aclose()


async def test_all_that_start_the_same_run_share_the_last_place(model):
    log, limits = Away(), Limits(1)
    live = Live(log)
    app = ChatApp(model.generate, live=live, limits=limits)
    same = [Watching(app, AG_UI, BODIES[AG_UI]) for _ in range(20)]
    await log.asked.wait()
    assert (await ask(app, AG_UI, another(AG_UI))).status == 429
    log.answers.set()
    for each in same:
        await each.until(b"Hel")
    assert taken(limits) == 1
    model.go_on.set()
    for each in same:
        assert (await each.answer()).status == 200
    assert model.calls == 1
    assert taken(limits) == 0
    await live.aclose()


class SlowForOthers(Limits):
    """Limits that let the first in at once, and have others wait for an answer."""

    def __init__(self, total):
        super().__init__(total)
        self.admitted = 0
        self.answers = asyncio.Event()

    async def admit(self, request):
        self.admitted += 1
        if self.admitted > 1:
            await self.answers.wait()
        return await super().admit(request)


async def test_whoever_is_refused_joins_what_another_process_has_begun_meanwhile(model):
    log, limits = MemoryLog(), SlowForOthers(1)
    processes = [Live(log), Live(log)]
    apps = [ChatApp(model.generate, live=live, limits=limits) for live in processes]
    both = [Watching(app, AG_UI, BODIES[AG_UI]) for app in apps]
    await both[0].until(b"Hel")
    assert limits.admitted == 2
    limits.answers.set()
    await both[1].until(b"Hel")
    model.go_on.set()
    for each in both:
        assert (await each.answer()).status == 200
    assert model.calls == 1
    for live in processes:
        await live.aclose()


async def test_one_that_fails_to_start_lets_the_next_one_try(model):
    log, limits = Away(), Limits(1)
    log.is_away = True
    live = Live(log)
    app = ChatApp(model.generate, live=live, limits=limits)
    first = Watching(app, AG_UI, BODIES[AG_UI])
    await log.asked.wait()
    second = Watching(app, AG_UI, BODIES[AG_UI])
    log.answers.set()
    assert (await first.answer()).status == 503
    log.is_away = False
    await second.until(b"Hel")
    model.go_on.set()
    assert (await second.answer()).status == 200
    await live.aclose()


async def test_a_live_that_closes_gives_all_places_back(model):
    live, limits = Live(), Limits(3)
    app = ChatApp(model.generate, live=live, limits=limits)
    for path, body in STARTING.items():
        await Watching(app, path, body).until(b"Hel")
    assert taken(limits) == 3
    await live.aclose(drain=0)
    await until(lambda: taken(limits) == 0)


@settings(max_examples=30, deadline=None)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from([*STARTING]),
            st.sampled_from(["leave", "cancel", "stay"]),
            st.integers(0, 25),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_clients_that_go_at_any_moment_leave_no_place_taken(steps):
    asyncio.run(crowd(steps))


async def crowd(steps):
    """Ask for all at once; each goes in its own way after so many turns of the event loop."""
    inside = []

    async def generate(chat):
        inside.append(chat)
        most.append(len(inside))
        try:
            yield "Hel"
            await asyncio.sleep(0)
            yield "lo"
        finally:
            inside.remove(chat)

    most, live, limits = [0], Live(), Limits(3)
    app = ChatApp(generate, live=live, limits=limits)
    clients = [Watching(app, path, another(path, n % 4)) for n, (path, _, _) in enumerate(steps)]

    async def go(watching, way, turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        if way == "leave":
            watching.client.leaves.set()
        elif way == "cancel":
            watching.task.cancel()
        async with asyncio.timeout(10):
            await asyncio.wait([watching.task])

    await asyncio.gather(*(go(each, *step[1:]) for each, step in zip(clients, steps, strict=True)))
    await live.aclose()
    assert max(most) <= 3
    assert taken(limits) == 0
