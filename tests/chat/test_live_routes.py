"""Answers that outlive their clients, at the addresses that clients know: by raw ASGI."""

import asyncio
import json
import subprocess
import sys

import pytest

from sse_asgi import Outcome, Reasoning, ServerSentEvent, ToolCall, Usage
from sse_asgi.chat import ChatApp, ChatError
from sse_asgi.live import Live, LogUnavailableError, MemoryLog
from tests.chat.asking import AG_UI, AI_SDK, BODIES, CHAT, RESPONSES, Client, ask, error_of
from tests.chat.watching import Model, Watching
from tests.live.viewers import until

pytestmark = pytest.mark.anyio

BACKGROUND = {**BODIES[RESPONSES], "background": True}
STREAM = {**BACKGROUND, "stream": True}
KEYS = {"Bearer ann": "ann", "Bearer bob": "bob"}


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def authorize(request):
    return KEYS.get(request.headers.get("authorization"))


@pytest.fixture
async def model():
    return Model()


@pytest.fixture
async def live():
    live = Live()
    yield live
    await live.aclose(drain=0)


@pytest.fixture
def app(model, live):
    return ChatApp(model.generate, live=live, on_complete=model.complete)


@pytest.fixture
def closed(model, live):
    """An app with keys."""
    return ChatApp(model.generate, live=live, on_complete=model.complete, authorize=authorize)


def text_of(answer):
    """The text of a stream's events, whatever the dialect."""
    return "".join(each["delta"] for each in answer.events if "delta" in each)


def as_(name):
    return {"authorization": f"Bearer {name}"}


def cut_after(answer, text):
    """Return the id of the event that has this text."""
    events = [each for each in answer.text.split("\n\n") if text in each]
    return events[0].split("\n")[0].removeprefix("id: ")


# AI SDK


async def test_a_reload_replays_the_answer_from_its_start(app, model):
    first = Watching(app, AI_SDK, BODIES[AI_SDK])
    await first.until(b"Hel")
    await first.leave()
    second = Watching(app, f"{AI_SDK}/chat-1/stream", method="GET")
    await second.until(b"Hel")
    model.go_on.set()

    answer = await second.answer()

    assert (answer.status, text_of(answer)) == (200, "Hello")
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.events[0]["type"] == "start"
    assert answer.text.endswith("data: [DONE]\n\n")
    assert model.calls == 1
    assert await model.all_told() == [("Hello", Outcome.COMPLETED, "ui_messages")]


async def test_a_cursor_does_not_shorten_the_replay(app, model):
    first = Watching(app, AI_SDK, BODIES[AI_SDK])
    await first.until(b"Hel")
    await first.leave()
    seen = cut_after(first.client.answer, "Hel")
    model.go_on.set()
    headers = {"last-event-id": seen}
    watching = Watching(app, f"{AI_SDK}/chat-1/stream", method="GET", headers=headers)
    answer = await watching.answer()
    assert answer.status in (200, 204)  # it may have ended just before
    assert answer.status == 204 or text_of(answer) == "Hello"


@pytest.mark.parametrize("chat", ["unknown", "chat-1"])
async def test_without_an_answer_under_way_there_is_nothing_to_resume(app, model, chat):
    model.go_on.set()
    await ask(app, AI_SDK, BODIES[AI_SDK])
    answer = await ask(app, f"/v1/ai-sdk/{chat}/stream", method="GET")
    assert (answer.status, answer.body) == (204, b"")
    assert model.calls == 1


async def test_the_next_message_of_a_chat_is_another_answer(app, model):
    first = Watching(app, AI_SDK, BODIES[AI_SDK])
    await first.until(b"Hel")
    second = Watching(app, AI_SDK, BODIES[AI_SDK])
    await second.until(b"Hel")
    resumed = Watching(app, f"{AI_SDK}/chat-1/stream", method="GET")
    await resumed.until(b"Hel")
    model.go_on.set()
    answers = [await each.answer() for each in (first, second, resumed)]
    ids = [answer.events[0]["messageId"] for answer in answers]
    assert ids[1] == ids[2] != ids[0]
    assert [text_of(answer) for answer in answers] == ["Hello"] * 3
    assert model.calls == 2


@pytest.mark.parametrize("name", ["a/b", "ä ü", "x" * 1000, "stream", "models"])
async def test_a_chats_id_may_be_any_text(app, model, name):
    from urllib.parse import quote

    first = Watching(app, AI_SDK, {**BODIES[AI_SDK], "id": name})
    await first.until(b"Hel")
    model.go_on.set()
    again = Watching(app, f"{AI_SDK}/{quote(name, safe='')}/stream", method="GET")
    assert text_of(await again.answer()) == text_of(await first.answer()) == "Hello"


async def test_a_chat_without_an_id_is_answered_as_without_live(app, model):
    body = {name: value for name, value in BODIES[AI_SDK].items() if name != "id"}
    client = Watching(app, AI_SDK, body)
    await client.until(b"Hel")
    await client.leave()
    await until(lambda: model.told)
    assert await model.all_told() == [("Hel", Outcome.DISCONNECTED, "ui_messages")]


async def test_stop_ends_the_answer_of_a_chat(app, model):
    watching = Watching(app, AI_SDK, BODIES[AI_SDK])
    await watching.until(b"Hel")
    stopped = await ask(app, f"{AI_SDK}/chat-1/stop")
    assert (stopped.status, stopped.body) == (204, b"")
    answer = await watching.answer()
    assert {"type": "abort"} in answer.events
    assert await model.all_told() == [("Hel", Outcome.STOPPED, "ui_messages")]
    again = await ask(app, f"{AI_SDK}/chat-1/stop")
    assert again.status == 204


async def test_a_label_that_cannot_be_kept_fails_no_answer(model, caplog):
    class Forgetful(MemoryLog):
        async def label(self, label, key, *, keep):
            raise LogUnavailableError("away")

    live = Live(Forgetful())
    app = ChatApp(model.generate, live=live)
    model.go_on.set()
    assert text_of(await ask(app, AI_SDK, BODIES[AI_SDK])) == "Hello"
    assert (await ask(app, f"{AI_SDK}/chat-1/stream", method="GET")).status == 204
    assert "away" in caplog.text
    await live.aclose(drain=0)


# OpenAI's Responses


def id_of(answer):
    return answer.events[0]["response"]["id"]


async def test_a_response_in_the_background_goes_on_after_any_number(app, model):
    first = Watching(app, RESPONSES, STREAM)
    await first.until(b"Hel")
    await first.leave()
    seen = first.client.answer.events
    model.go_on.set()
    path = f"{RESPONSES}/{id_of(first.client.answer)}?stream=true"

    whole = await ask(app, path, method="GET")

    assert [each["sequence_number"] for each in whole.events] == list(range(len(whole.events)))
    assert whole.events[: len(seen)] == seen
    assert whole.events[0]["response"]["background"] is True
    assert (text_of(whole), whole.events[-1]["type"]) == ("Hello", "response.completed")
    for number in range(len(whole.events)):
        rest = await ask(app, f"{path}&starting_after={number}", method="GET")
        assert rest.events == whole.events[number + 1 :]
    assert model.calls == 1
    assert await model.all_told() == [("Hello", Outcome.COMPLETED, "responses")]


async def test_events_of_the_generators_own_do_not_move_the_numbers(live):
    async def generate(chat):
        yield ServerSentEvent(event="progress", data='{"sequence_number":77}')
        for piece in ("a", "b"):
            yield piece
            yield ServerSentEvent(event="progress", data="1 of 2")
            await asyncio.sleep(0)

    app = ChatApp(generate, live=live)
    whole = await ask(app, RESPONSES, STREAM)
    numbered = [
        json.loads(block.partition("data: ")[2])
        for block in whole.text.split("\n\n")
        if "event: response." in block
    ]
    path = f"{RESPONSES}/{numbered[0]['response']['id']}?stream=true&starting_after="
    for number in range(3, len(numbered)):
        rest = await ask(app, path + str(number), method="GET")
        found = [
            json.loads(block.partition("data: ")[2])
            for block in rest.text.split("\n\n")
            if "event: response." in block
        ]
        assert found == numbered[number + 1 :]


async def test_a_client_has_the_id_before_the_first_chunk(live):
    begun = asyncio.Event()

    async def generate(chat):
        begun.set()
        await asyncio.Event().wait()
        yield "never"

    app = ChatApp(generate, live=live)
    watching = Watching(app, RESPONSES, STREAM)
    await watching.until(b"response.in_progress")
    assert begun.is_set()
    await watching.leave()
    answer = await ask(app, f"{RESPONSES}/{id_of(watching.client.answer)}", method="GET")
    assert (answer.status, answer.json["status"], answer.json["output"]) == (200, "in_progress", [])


async def test_a_response_is_polled_until_it_is_complete(app, model):
    created = await ask(app, RESPONSES, BACKGROUND)
    assert created.status == 200
    assert created.headers["content-type"] == "application/json"
    assert (created.json["status"], created.json["background"]) == ("in_progress", True)
    path = f"{RESPONSES}/{created.json['id']}"
    polled = await ask(app, path, method="GET")
    assert polled.json == created.json
    model.go_on.set()
    await until(lambda: model.told)
    done = (await ask(app, path, method="GET")).json
    assert (done["status"], done["output"][0]["content"][0]["text"]) == ("completed", "Hello")
    assert (done["model"], done["created_at"]) == ("mine", created.json["created_at"])
    assert model.calls == 1


async def test_cancel_answers_with_the_response_as_it_ended(app, model):
    watching = Watching(app, RESPONSES, STREAM)
    await watching.until(b"Hel")
    path = f"{RESPONSES}/{id_of(watching.client.answer)}"
    cancelled = await ask(app, f"{path}/cancel")
    assert (cancelled.status, cancelled.json["status"]) == (200, "cancelled")
    assert cancelled.json["output"][0]["content"][0]["text"] == "Hel"
    assert (await watching.answer()).events[-1]["response"] == cancelled.json
    assert (await ask(app, f"{path}/cancel")).json == cancelled.json
    assert (await ask(app, path, method="GET")).json == cancelled.json
    assert await model.all_told() == [("Hel", Outcome.STOPPED, "responses")]


async def test_cancel_leaves_what_is_complete_as_it_is(app, model):
    model.go_on.set()
    answer = await ask(app, RESPONSES, STREAM)
    cancelled = await ask(app, f"{RESPONSES}/{id_of(answer)}/cancel")
    assert cancelled.json["status"] == "completed"


async def test_a_response_that_failed_says_so(live):
    async def generate(chat):
        yield "Hel"
        raise ChatError(429, "Too many.", code="rate_limit_exceeded")

    app = ChatApp(generate, live=live)
    answer = await ask(app, RESPONSES, STREAM)
    assert answer.status == 200
    polled = (await ask(app, f"{RESPONSES}/{id_of(answer)}", method="GET")).json
    assert polled["status"] == "failed"
    assert polled["error"] == {"code": "rate_limit_exceeded", "message": "Too many."}


@pytest.mark.parametrize("number", ["-1", "x", "", "1.5", "9" * 20, "٣"])
async def test_a_wrong_number_is_refused(app, model, number):
    from urllib.parse import quote

    model.go_on.set()
    name = id_of(await ask(app, RESPONSES, STREAM))
    path = f"{RESPONSES}/{name}?stream=true&starting_after={quote(number)}"
    answer = await ask(app, path, method="GET")
    assert (answer.status, answer.json["error"]["param"]) == (400, "starting_after")


async def test_stream_is_true_or_false(app, model):
    model.go_on.set()
    name = id_of(await ask(app, RESPONSES, STREAM))
    answer = await ask(app, f"{RESPONSES}/{name}?stream=yes", method="GET")
    assert (answer.status, answer.json["error"]["param"]) == (400, "stream")


async def test_a_client_that_leaves_with_its_request_is_sent_nothing(app):
    client = Client(app, f"{RESPONSES}/resp_1", method="GET")
    client.messages = [{"type": "http.disconnect"}]
    await client.run()
    assert client.sent == []


async def test_a_number_beyond_the_end_gets_an_empty_stream(app, model):
    model.go_on.set()
    name = id_of(await ask(app, RESPONSES, STREAM))
    answer = await ask(app, f"{RESPONSES}/{name}?stream=true&starting_after=1000", method="GET")
    assert (answer.status, answer.events) == (200, [])


async def test_a_response_without_background_is_not_kept(app, model):
    model.go_on.set()
    answer = await ask(app, RESPONSES, {**BODIES[RESPONSES], "stream": True})
    assert answer.events[0]["response"]["background"] is False
    missing = await ask(app, f"{RESPONSES}/{id_of(answer)}?stream=true", method="GET")
    assert missing.status == 404


async def test_a_generation_of_another_kind_is_no_response(app, live):
    await live.start(["a"], id="mine")
    answer = await ask(app, f"{RESPONSES}/mine", method="GET")
    assert (answer.status, answer.json["error"]["code"]) == (404, "not_found")


# AG-UI and TanStack


async def test_the_same_post_goes_on_after_the_last_event(app, model):
    first = Watching(app, AG_UI, BODIES[AG_UI])
    await first.until(b"Hel")
    await first.leave()
    headers = {"last-event-id": cut_after(first.client.answer, "Hel")}
    second = Watching(app, AG_UI, BODIES[AG_UI], headers=headers)
    model.go_on.set()
    answer = await second.answer()
    assert (answer.status, text_of(answer)) == (200, "lo")
    assert answer.events[-1]["type"] == "RUN_FINISHED"
    assert model.calls == 1
    assert await model.all_told() == [("Hello", Outcome.COMPLETED, "ag_ui")]


async def test_a_run_is_joined_from_its_start(app, model):
    first = Watching(app, AG_UI, BODIES[AG_UI])
    await first.until(b"Hel")
    second = Watching(app, "/v1/ag-ui?offset=-1&runId=r", method="GET")
    repeated = Watching(app, AG_UI, BODIES[AG_UI])
    await repeated.until(b"Hel")
    await second.until(b"Hel")
    model.go_on.set()
    answers = [await each.answer() for each in (first, second, repeated)]
    assert [text_of(answer) for answer in answers] == ["Hello"] * 3
    assert answers[0].events == answers[1].events == answers[2].events
    assert model.calls == 1
    late = await ask(app, "/ag-ui?offset=-1&runId=r", method="GET")
    assert late.events == answers[0].events


async def test_nothing_is_started_for_a_client_that_comes_back(app, model):
    answer = await ask(app, AG_UI, BODIES[AG_UI], headers={"last-event-id": "abcd:3"})
    assert (answer.status, error_of(AG_UI, answer)) == (404, "There is no such answer.")
    assert model.calls == 0


async def test_a_run_is_stopped(app, model):
    watching = Watching(app, AG_UI, BODIES[AG_UI])
    await watching.until(b"Hel")
    assert (await ask(app, f"{AG_UI}/r/stop")).status == 204
    assert (await watching.answer()).events[-1]["outcome"] == {"type": "cancelled"}
    assert await model.all_told() == [("Hel", Outcome.STOPPED, "ag_ui")]


@pytest.mark.parametrize(
    ("query", "param"), [("", "runId"), ("?runId=", "runId"), ("?runId=r&offset=7", "offset")]
)
async def test_a_run_is_asked_for_by_its_id(app, query, param):
    answer = await ask(app, f"{AG_UI}{query}", method="GET")
    assert answer.status == 400
    assert f"'{param}'" in error_of(AG_UI, answer)


# Whose they are


ROUTES = [
    ("GET", f"{RESPONSES}/{{}}"),
    ("GET", f"{RESPONSES}/{{}}?stream=true"),
    ("POST", f"{RESPONSES}/{{}}/cancel"),
    ("GET", f"{AG_UI}?offset=-1&runId=r"),
    ("POST", f"{AG_UI}/r/stop"),
    ("POST", f"{AI_SDK}/chat-1/stop"),
    ("GET", f"{AI_SDK}/chat-1/stream"),
]


async def test_another_principal_finds_nothing(closed, model):
    watching = [
        Watching(closed, path, body, headers=as_("ann"))
        for path, body in ((RESPONSES, STREAM), (AG_UI, BODIES[AG_UI]), (AI_SDK, BODIES[AI_SDK]))
    ]
    for each in watching:
        await each.until(b"Hel")
    name = id_of(watching[0].client.answer)
    for method, path in ROUTES:
        answer = await ask(closed, path.format(name), method=method, headers=as_("bob"))
        # AI SDK takes 404 for a failure, and asks at each load of a page: nothing runs for Bob.
        assert answer.status == (204 if path.endswith("stream") else 404)
        assert b"Hel" not in answer.body
        refused = await ask(closed, path.format(name), method=method)
        assert refused.status == 401
    came_back = {**as_("bob"), "last-event-id": cut_after(watching[1].client.answer, "Hel")}
    assert (await ask(closed, AG_UI, BODIES[AG_UI], headers=came_back)).status == 404
    model.go_on.set()
    for each in watching:
        assert text_of(await each.answer()) == "Hello"
    assert model.calls == 3


async def test_a_name_of_somebody_elses_is_free(closed, model):
    anns = Watching(closed, AG_UI, BODIES[AG_UI], headers=as_("ann"))
    await anns.until(b"Hel")
    bobs = Watching(closed, AG_UI, BODIES[AG_UI], headers=as_("bob"))
    await bobs.until(b"Hel")
    model.go_on.set()
    first, second = await anns.answer(), await bobs.answer()
    assert model.calls == 2
    assert first.headers != second.headers or first.text != second.text


async def test_a_principal_that_may_change_is_refused(model, live, caplog):
    app = ChatApp(model.generate, live=live, authorize=lambda request: {"sub": "ann", "iat": 1})
    answer = await ask(app, RESPONSES, BACKGROUND)
    assert answer.status == 500
    assert "authorize must return the user's id" in caplog.text
    assert (await ask(app, CHAT, BODIES[CHAT] | {"n": 2})).status == 400  # others are as they were


# What goes wrong


@pytest.mark.parametrize("path", [AI_SDK, AG_UI])
async def test_a_refusal_before_the_first_chunk_is_a_status(live, path):
    async def generate(chat):
        raise ChatError(429, "Slow down.", retry_after=2)
        yield "never"

    answer = await ask(ChatApp(generate, live=live), path, BODIES[path])
    assert (answer.status, error_of(path, answer)) == (429, "Slow down.")
    assert answer.headers["retry-after"] == "2"


@pytest.mark.parametrize("path", [AI_SDK, AG_UI])
async def test_a_later_failure_is_an_event(live, path):
    async def generate(chat):
        yield "Hel"
        raise ValueError("secret")

    answer = await ask(ChatApp(generate, live=live), path, BODIES[path])
    assert (answer.status, text_of(answer)) == (200, "Hel")
    assert answer.events[-1]["type"] in ("error", "RUN_ERROR")
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", f"{AI_SDK}/c/stream", "GET"),
        ("GET", f"{AI_SDK}/c/stop", "POST"),
        ("DELETE", f"{RESPONSES}/resp_1", "GET"),
        ("GET", f"{RESPONSES}/resp_1/cancel", "POST"),
        ("GET", f"{AG_UI}/r/stop", "POST"),
        ("PUT", AG_UI, "POST, GET"),
    ],
)
async def test_another_method_is_refused(app, method, path, allow):
    answer = await ask(app, path, method=method)
    assert (answer.status, answer.headers["allow"]) == (405, allow)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", f"{RESPONSES}/resp_unknown"),
        ("GET", f"{RESPONSES}/resp_unknown?stream=true&starting_after=3"),
        ("GET", f"{RESPONSES}/no%20id"),
        ("POST", f"{RESPONSES}/resp_unknown/cancel"),
        ("GET", f"{AG_UI}?runId=unknown"),
        ("POST", f"{AG_UI}/unknown/stop"),
        ("POST", f"{AI_SDK}/unknown/stop"),
    ],
)
async def test_what_nobody_has_started_is_not_there(app, model, method, path):
    answer = await ask(app, path, method=method)
    at = next(each for each in (RESPONSES, AG_UI, AI_SDK) if path.startswith(each))
    assert (answer.status, error_of(at, answer)) == (404, "There is no such answer.")
    assert model.calls == 0


async def test_a_log_out_of_reach_is_503(model, caplog):
    class Away(MemoryLog):
        async def look(self, key):
            raise LogUnavailableError("away")

        async def create(self, key, token, meta, *, keep):
            raise LogUnavailableError("away")

    app = ChatApp(model.generate, live=Live(Away()))
    for path, body, method in [
        (AI_SDK, BODIES[AI_SDK], "POST"),
        (RESPONSES, BACKGROUND, "POST"),
        (f"{RESPONSES}/resp_1", None, "GET"),
        (f"{AG_UI}?runId=r", None, "GET"),
    ]:
        answer = await ask(app, path, body, method=method)
        assert (answer.status, answer.headers["retry-after"]) == (503, "5")
    assert "away" in caplog.text


async def test_parts_are_replayed_too(live):
    async def generate(chat):
        yield Reasoning("Think")
        yield "Hello"
        yield ToolCall("weather", {"city": "Oslo"}, "call_1")
        yield Usage(9, 4)

    app = ChatApp(generate, live=live)
    for path in (AG_UI, RESPONSES):
        first = await ask(app, path, STREAM if path == RESPONSES else BODIES[path])
        again = f"{path}/{id_of(first)}?stream=true" if path == RESPONSES else f"{path}?runId=r"
        assert (await ask(app, again, method="GET")).events == first.events


async def test_without_live_there_is_nothing_of_it(model):
    app = ChatApp(model.generate)
    answer = await ask(app, RESPONSES, BACKGROUND)
    assert (answer.status, answer.json["error"]["param"]) == (400, "background")
    for path in (f"{AI_SDK}/c/stream", f"{RESPONSES}/resp_1"):
        assert (await ask(app, path, method="GET")).status == 404
    assert (await ask(app, AG_UI, method="GET")).status == 405


async def test_live_must_be_a_live(model):
    with pytest.raises(TypeError, match="live must be a Live or None"):
        ChatApp(model.generate, live=object())


def test_chat_imports_live_only_where_it_is_used():
    code = """
import sys
import sse_asgi.chat
assert not [name for name in sys.modules if name.startswith(("sse_asgi.live", "redis"))]
from sse_asgi.live import Live
sse_asgi.chat.ChatApp(lambda chat: [], live=Live())
assert "redis" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
