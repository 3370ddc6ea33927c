"""The models that a chat app names."""

import pytest

from sse_asgi.chat import ChatApp
from tests.chat.asking import AG_UI, AI_SDK, BODIES, CHAT, ask

pytestmark = pytest.mark.anyio


async def generate(chat):
    yield chat.model


async def some():
    return ["first", "org/second"]


@pytest.mark.parametrize("models", [("first", "org/second"), some], ids=["names", "function"])
async def test_models_are_listed_and_found(models):
    app = ChatApp(generate, models=models)

    listed = (await ask(app, "/v1/models", method="GET")).json
    assert [model["id"] for model in listed["data"]] == ["first", "org/second"]
    assert (listed["object"], listed["has_more"]) == ("list", False)
    assert (listed["first_id"], listed["last_id"]) == ("first", "org/second")

    found = await ask(app, "/models/org/second", method="GET")
    assert (found.status, found.json["id"], found.json["object"]) == (200, "org/second", "model")

    missing = await ask(app, "/models/third", method="GET")
    assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")


async def test_head_has_no_body():
    answer = await ask(ChatApp(generate, models=["m"]), "/models", method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


async def test_any_model_will_do_where_none_are_named():
    app = ChatApp(generate)
    assert (await ask(app, "/models", method="GET")).json["data"] == []
    assert (await ask(app, "/models/whatever", method="GET")).json["id"] == "whatever"
    answer = await ask(app, CHAT, BODIES[CHAT] | {"model": "whatever"})
    assert answer.json["model"] == "whatever"


@pytest.mark.parametrize("path", [AI_SDK, AG_UI])
async def test_the_first_model_where_the_dialect_names_none(path):
    for models, name in ((("first", "second"), '"first"'), (None, "TEXT_MESSAGE"), ((), "")):
        answer = await ask(ChatApp(generate, models=models), path, BODIES[path])
        assert answer.status == 200
        assert ("first" in answer.text) == (name == '"first"')


async def test_a_function_that_fails_is_logged_and_not_told(caplog):
    async def fail():
        raise RuntimeError("secret")

    app = ChatApp(generate, models=fail)
    for path, method in (("/models", "GET"), (CHAT, "POST")):
        answer = await ask(app, path, BODIES[CHAT], method=method)
        assert (answer.status, "secret" in answer.text) == (500, False)
    assert caplog.text.count("RuntimeError: secret") == 2


@pytest.mark.parametrize("models", ["mine", 3, [""], [3], {"a": 1}.items()])
def test_what_names_no_models_is_refused(models):
    with pytest.raises(TypeError, match="models must"):
        ChatApp(generate, models=models)
