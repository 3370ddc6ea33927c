"""How chats begin and end: failures early and late, clients that leave, shutdowns, and the hook."""

import anyio
import pytest

from sse_asgi import Outcome, Shutdown, ToolCall, Usage
from sse_asgi.chat import ChatApp, ChatError
from tests.chat.asking import BODIES, CHAT, WHOLE, Client, ask, error_of

pytestmark = pytest.mark.anyio


def streaming(path, stream):
    return BODIES[path] | {"stream": stream}


ALL = [(path, stream) for path in BODIES for stream in (True, False) if stream or path in WHOLE]


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_a_chat_error_before_the_first_chunk_is_the_status(path, stream, caplog):
    async def generate(chat):
        raise ChatError(429, "Slow down.", code="rate_limit_exceeded", retry_after=0.2)
        yield

    answer = await ask(ChatApp(generate), path, streaming(path, stream))

    assert (answer.status, answer.headers["retry-after"]) == (429, "1")
    assert error_of(path, answer) == "Slow down."
    assert caplog.text == ""


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_another_error_before_the_first_chunk_is_500_and_logged_once(path, stream, caplog):
    async def generate(chat):
        raise RuntimeError("secret")
        yield

    answer = await ask(ChatApp(generate), path, streaming(path, stream))

    assert answer.status == 500
    assert "secret" not in answer.text
    assert caplog.text.count("RuntimeError: secret") == 1


@pytest.mark.parametrize(("path", "stream"), ALL)
@pytest.mark.parametrize("error", [ChatError(503, "Overloaded."), RuntimeError("secret")])
async def test_an_error_after_the_first_chunk(path, stream, error, caplog):
    async def generate(chat):
        yield "Hel"
        raise error

    answer = await ask(ChatApp(generate), path, streaming(path, stream))

    what = "stream" if stream else "answer"
    told = error.message if isinstance(error, ChatError) else f"The {what} failed on the server."
    assert told in answer.text
    assert "secret" not in answer.text
    if stream:
        assert answer.status == 200
        assert "Hel" in answer.text
    else:
        assert answer.status == (503 if isinstance(error, ChatError) else 500)
        assert error_of(path, answer) == told
    assert caplog.text.count("Traceback") == 1


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_describe_error_says_more(path, stream):
    async def generate(chat):
        yield "Hel"
        raise LookupError

    app = ChatApp(generate, describe_error=lambda error: f"A {type(error).__name__}.")
    assert "A LookupError." in (await ask(app, path, streaming(path, stream))).text


async def test_the_status_waits_no_longer_than_a_heartbeat():
    goes_on = anyio.Event()

    async def generate(chat):
        await goes_on.wait()
        raise ChatError(429, "Too late.")
        yield

    client = Client(ChatApp(generate, heartbeat=0.05), CHAT, streaming(CHAT, True))
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        with anyio.fail_after(5):
            while not any(b": keep-alive\n" in m.get("body", b"") for m in client.sent):
                await anyio.sleep(0.01)
        goes_on.set()

    assert client.answer.status == 200
    assert client.answer.events[-1]["error"]["message"] == "Too late."


async def test_a_shorter_prefetch_counts():
    goes_on = anyio.Event()

    async def generate(chat):
        await goes_on.wait()
        yield "Hello"

    client = Client(ChatApp(generate, prefetch=0.01), CHAT, streaming(CHAT, True))
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        with anyio.fail_after(5):
            await client.has_sent.wait()
        goes_on.set()
    assert "Hello" in client.answer.text


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_a_client_that_leaves_cancels_the_generator(path, stream):
    waits, ended, told = anyio.Event(), [], []

    async def generate(chat):
        try:
            yield "Hel"
            yield ToolCall("weather", {}, "call_1")
            yield Usage(9, 4)
            waits.set()
            await anyio.sleep_forever()
        finally:
            ended.append(anyio.current_time())

    async def complete(transcript, chat):
        told.append((transcript, chat))

    client = Client(ChatApp(generate, on_complete=complete), path, streaming(path, stream))
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        with anyio.fail_after(5):
            await waits.wait()
        left = anyio.current_time()
        client.leaves.set()

    assert ended[0] - left < 1  # at once, but for a busy machine
    [(transcript, chat)] = told
    assert transcript.outcome is Outcome.DISCONNECTED
    assert transcript.text == "Hel"
    assert transcript.parts == (ToolCall("weather", {}, "call_1"), Usage(9, 4))
    assert transcript.usage == Usage(9, 4)
    assert chat.text == "Hi"
    if not stream:
        assert client.sent == []


async def test_a_client_that_leaves_before_its_body_has_come():
    client = Client(ChatApp(never), CHAT, streaming(CHAT, True))
    client.messages[0]["more_body"] = True
    client.leaves.set()
    with anyio.fail_after(5):
        await client.run()
    assert client.sent == []


async def never(chat):
    raise AssertionError
    yield


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_on_complete_is_told_once(path, stream):
    async def generate(chat):
        yield "Hello"

    told = []
    for hook in (told.append, lambda transcript, chat: told.append(transcript)):
        await ask(ChatApp(generate, on_complete=hook), path, streaming(path, stream))
    assert [each.text for each in told] == ["Hello", "Hello"]
    assert all(each.outcome is Outcome.COMPLETED for each in told)


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_on_complete_that_fails_is_logged(path, stream, caplog):
    async def generate(chat):
        yield "Hello"

    def complete(transcript):
        raise RuntimeError("in the hook")

    answer = await ask(ChatApp(generate, on_complete=complete), path, streaming(path, stream))
    assert answer.status == 200
    assert caplog.text.count("RuntimeError: in the hook") == 1


@pytest.mark.parametrize("path", WHOLE)
async def test_text_that_is_not_recorded_is_answered_all_the_same(path):
    async def generate(chat):
        yield "Hello"

    told = []
    app = ChatApp(generate, on_complete=told.append, record=False)
    answer = await ask(app, path, BODIES[path])
    assert "Hello" in answer.text
    assert (told[0].text, told[0].chunks) == ("", 1)


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_a_shutdown(path, stream):
    waits, told = anyio.Event(), []
    shutdown = Shutdown(grace=0.05, signals=False)

    async def generate(chat):
        yield "Hel"
        waits.set()
        await anyio.sleep_forever()

    app = ChatApp(generate, shutdown=shutdown, on_complete=told.append)
    client = Client(app, path, streaming(path, stream))
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        with anyio.fail_after(5):
            await waits.wait()
            shutdown.begin()

    assert "The server is shutting down." in client.answer.text
    assert client.answer.status == (200 if stream else 503)
    assert [each.outcome for each in told] == [Outcome.SHUT_DOWN]


@pytest.mark.parametrize(("path", "stream"), ALL)
async def test_a_shutdown_before_the_first_chunk_is_the_status(path, stream):
    waits, sent_when_told, told = anyio.Event(), [], []
    shutdown = Shutdown(grace=0.05, signals=False)

    async def generate(chat):
        waits.set()
        await anyio.sleep_forever()
        yield

    def complete(transcript):
        told.append(transcript)
        sent_when_told.extend(client.sent)

    app = ChatApp(generate, shutdown=shutdown, on_complete=complete)
    client = Client(app, path, streaming(path, stream))
    async with anyio.create_task_group() as group:
        group.start_soon(client.run)
        with anyio.fail_after(5):
            await waits.wait()
            shutdown.begin()

    assert (client.answer.status, client.answer.headers["retry-after"]) == (503, "1")
    assert error_of(path, client.answer) == "The server is shutting down."
    assert [each.outcome for each in told] == [Outcome.SHUT_DOWN]
    assert sent_when_told == []  # some servers wait for nobody once all is sent


@pytest.mark.parametrize("path", BODIES)
async def test_a_shutdown_while_the_first_chunk_is_on_its_way_keeps_that(path):
    shutdown, goes_on = Shutdown(grace=0.05, signals=False), anyio.Event()

    async def generate(chat):
        yield "Hel"
        yield "lo"  # ready at once: it is still gathered when the server is told to stop
        shutdown.begin()
        await goes_on.wait()

    app = ChatApp(generate, shutdown=shutdown)
    answer = await ask(app, path, streaming(path, True))
    assert answer.status == 200
    assert "Hel" in answer.text
    assert "The server is shutting down." in answer.text


async def test_on_chunk_sees_the_text():
    async def generate(chat):
        yield "Hel"
        yield "lo"

    for stream in (True, False):
        chunks = []
        app = ChatApp(generate, on_chunk=chunks.append)
        await ask(app, CHAT, streaming(CHAT, stream))
        assert chunks == ["Hel", "lo"]


async def test_lifespan_and_websockets():
    app, sent = ChatApp(never), []
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

    async def receive():
        return messages.pop(0) if messages else {"type": "websocket.connect"}

    async def send(message):
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    await app({"type": "websocket"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete", "websocket.close"]
