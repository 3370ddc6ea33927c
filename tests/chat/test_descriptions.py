"""What clients are told of a failure: its message, its code, and nothing when that fails, too."""

import pytest

from sse_asgi.chat import ChatApp, ChatError
from tests.chat.asking import (
    AG_UI,
    AI_SDK,
    ANTHROPIC,
    BODIES,
    CHAT,
    RESPONSES,
    WHOLE,
    ask,
    error_of,
)

pytestmark = pytest.mark.anyio

GENERIC = "The answer failed on the server."


async def fail(chat):
    raise LookupError("secret")
    yield


def raise_(error):
    raise RuntimeError("in describe_error")


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("describe", [raise_, lambda error: 3], ids=["raises", "no text"])
async def test_a_description_that_fails_before_the_first_chunk(path, stream, describe, caplog):
    app = ChatApp(fail, describe_error=describe)
    answer = await ask(app, path, BODIES[path] | {"stream": stream})
    assert (answer.status, error_of(path, answer)) == (500, GENERIC)
    assert "describe_error" in caplog.text
    assert caplog.text.count("LookupError: secret") >= 1


async def test_a_description_that_fails_for_the_users_other_functions():
    for options in ({"authorize": raise_}, {"models": lambda: raise_(None)}):
        app = ChatApp(fail, describe_error=raise_, **options)
        for path, method in ((CHAT, "POST"), ("/models", "GET")):
            answer = await ask(app, path, BODIES[CHAT], method=method)
            assert (answer.status, answer.json["error"]["message"]) == (500, GENERIC)


async def be_late(chat):
    yield "Hel"
    raise ChatError(429, "Too many.", code="rate_limit_exceeded")


@pytest.mark.parametrize("path", BODIES)
async def test_a_late_chat_error_tells_its_code(path):
    events = (await ask(ChatApp(be_late), path, BODIES[path] | {"stream": True})).events
    code = "rate_limit_exceeded"
    if path == CHAT:
        assert (events[-1]["error"]["message"], events[-1]["error"]["code"]) == ("Too many.", code)
    elif path == RESPONSES:
        told, failed = events[-2:]
        assert (told["error"]["message"], told["error"]["code"]) == ("Too many.", code)
        assert failed["response"]["error"] == {"message": "Too many.", "code": code}
    elif path == AG_UI:
        assert events[-1] == {"type": "RUN_ERROR", "message": "Too many.", "code": code}
    elif path == ANTHROPIC:  # its types stand for codes
        assert events[-1]["error"] == {"type": "rate_limit_error", "message": "Too many."}
    else:
        assert path == AI_SDK
        assert events[-1] == {"type": "error", "errorText": "Too many."}


@pytest.mark.parametrize("path", WHOLE)
async def test_a_chat_error_tells_its_code_where_nothing_streams(path):
    answer = await ask(ChatApp(be_late), path, BODIES[path])
    assert (answer.status, error_of(path, answer)) == (429, "Too many.")
    if path != ANTHROPIC:
        assert answer.json["error"]["code"] == "rate_limit_exceeded"
