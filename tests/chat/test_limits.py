"""Bounded chats: 429 in the dialect's shape, before the generator is called."""

import anyio
import pytest

from sse_asgi.chat import ChatApp
from sse_asgi.limits import Limits
from tests.chat.asking import BODIES, WHOLE, Client, ask, error_of

pytestmark = pytest.mark.anyio
LONG = {"stream": True}


class Generator:
    """Says one word and stays."""

    def __init__(self):
        self.called = 0
        self.goes = anyio.Event()

    async def __call__(self, chat):
        self.called += 1
        yield "Hello"
        await self.goes.wait()


@pytest.mark.parametrize("path", BODIES)
async def test_a_chat_above_the_bound_gets_429_in_its_dialect(path):
    generate = Generator()
    app = ChatApp(generate, limits=Limits(1))
    async with anyio.create_task_group() as tasks:
        first = Client(app, path, BODIES[path] | LONG)
        tasks.start_soon(first.run)
        await first.has_sent.wait()
        for body in (BODIES[path], BODIES[path] | LONG):
            refused = await ask(app, path, body)
            assert refused.status == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert "as many streams open" in error_of(path, refused)
        assert generate.called == 1
        generate.goes.set()
    assert first.answer.status == 200
    assert (await ask(app, path, BODIES[path] | LONG)).status == 200


@pytest.mark.parametrize("path", WHOLE)
async def test_an_answer_that_does_not_stream_has_a_place_too(path):
    generate = Generator()
    app = ChatApp(generate, limits=Limits(1))
    async with anyio.create_task_group() as tasks:
        first = Client(app, path, BODIES[path])
        tasks.start_soon(first.run)
        while not generate.called:
            await anyio.sleep(0)
        assert (await ask(app, path, BODIES[path])).status == 429
        generate.goes.set()
    assert (await ask(app, path, BODIES[path])).status == 200


@pytest.mark.parametrize("path", WHOLE)
async def test_what_is_refused_for_other_reasons_takes_no_place(path):
    limits = Limits(1)
    app = ChatApp(Generator(), models=("mine",), authorize=lambda request: False, limits=limits)
    for _ in range(3):
        assert (await ask(app, path, BODIES[path])).status == 401
        assert (await ask(app, path, b"no JSON")).status in (400, 401)
    assert limits._places._open == 0


async def test_a_key_of_the_user_that_fails_is_an_error_of_the_server(caplog):
    def broken(request):
        raise LookupError("secret")

    app = ChatApp(Generator(), limits=Limits(per=broken, each=1))
    path = WHOLE[0]
    refused = await ask(app, path, BODIES[path])
    assert refused.status == 500
    assert "secret" not in refused.text


def test_a_wrong_value_raises_at_once():
    with pytest.raises(TypeError, match="limits must be a Limits or None, not 5"):
        ChatApp(Generator(), limits=5)
