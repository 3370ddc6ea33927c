"""A chat app below a mount, in the frameworks' own ways."""

import pytest

from sse_asgi.chat import ChatApp
from tests.chat.asking import ANTHROPIC, BODIES, CHAT, ask
from tests.conftest import require

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    """Run as uvicorn does; not every framework runs under trio."""
    return "asyncio"


async def generate(chat):
    yield f"{chat.model}: {chat.text}"


CHAT_APP = ChatApp(generate, models=["org/mine", "mine"])


def by_starlette():
    from starlette.applications import Starlette
    from starlette.routing import Mount

    return Starlette(routes=[Mount("/api", app=CHAT_APP)])


def by_fastapi():
    require("fastapi")
    from fastapi import FastAPI

    app = FastAPI()
    app.mount("/api", CHAT_APP)
    return app


def by_litestar():
    require("litestar")
    from litestar import Litestar, asgi

    @asgi("/api", is_mount=True, copy_scope=True)
    async def mounted(scope: dict, receive: object, send: object) -> None:
        await CHAT_APP(scope, receive, send)

    return Litestar([mounted])


@pytest.mark.parametrize("make", [by_starlette, by_fastapi, by_litestar])
async def test_every_address_is_found_below_the_mount(make):
    app = make()
    for path in (CHAT, "/chat/completions", ANTHROPIC):
        body = BODIES[CHAT if "chat" in path else path]
        answer = await ask(app, f"/api{path}", body)
        assert answer.status == 200
        assert "mine: Hi" in answer.text
    for path, name in (("/v1/models/org/mine", "org/mine"), ("/models/mine", "mine")):
        answer = await ask(app, f"/api{path}", method="GET")
        assert (answer.status, answer.json["id"]) == (200, name)
    assert (await ask(app, "/api/nowhere", BODIES[CHAT])).json["error"]["type"]
