"""Compressed live answers: whoever starts one or comes back reads each event when it is there."""

import pytest

from sse_asgi.chat import ChatApp
from sse_asgi.live import Live
from tests.chat.asking import AG_UI, AI_SDK, BODIES, RESPONSES, ask
from tests.chat.watching import Model, Watching
from tests.compressed import CODINGS, bodies_of
from tests.live.viewers import until

pytestmark = pytest.mark.anyio

STARTING = {
    AI_SDK: BODIES[AI_SDK],
    AG_UI: BODIES[AG_UI],
    RESPONSES: {**BODIES[RESPONSES], "background": True, "stream": True},
}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def text_in(watching, coding):
    return b"".join(bodies_of(watching.client.sent[1:], coding))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("path", STARTING)
async def test_each_event_of_a_live_answer_is_there_at_once(path, coding):
    live, model = Live(), Model()
    app = ChatApp(model.generate, live=live, compress=CODINGS)
    headers = {"accept-encoding": coding}
    first = Watching(app, path, STARTING[path], headers=headers)
    await until(lambda: b"Hel" in text_in(first, coding))
    again = {
        AI_SDK: f"{AI_SDK}/chat-1/stream",
        AG_UI: f"{AG_UI}?offset=-1&runId=r",
        RESPONSES: None,
    }[path]
    if again is None:
        name = text_in(first, coding).partition(b'"id":"')[2].partition(b'"')[0].decode()
        again = f"{RESPONSES}/{name}?stream=true"
    second = Watching(app, again, method="GET", headers=headers)
    plain = Watching(app, again, method="GET")
    await until(lambda: b"Hel" in text_in(second, coding))
    await plain.until(b"Hel")
    model.go_on.set()
    for each in (first, second):
        found = (await each.answer()).headers
        assert (found["content-encoding"], found["vary"]) == (coding, "accept-encoding")
    assert (await plain.answer()).headers["vary"] == "accept-encoding"
    assert text_in(second, coding) == plain.client.answer.body
    assert b"lo" in text_in(first, coding)
    await live.aclose()


async def test_a_refusal_and_an_object_are_not_compressed():
    live, model = Live(), Model()
    model.go_on.set()
    app = ChatApp(model.generate, live=live, compress=("gzip",))
    headers = {"accept-encoding": "gzip"}
    for path, body, method, status in (
        (RESPONSES, {**BODIES[RESPONSES], "background": True}, "POST", 200),
        (f"{AG_UI}?offset=-1&runId=none", None, "GET", 404),
        (f"{AI_SDK}/none/stream", None, "GET", 204),
    ):
        answer = await ask(app, path, body, method=method, headers=headers)
        assert answer.status == status
        assert "content-encoding" not in answer.headers
    await live.aclose()
