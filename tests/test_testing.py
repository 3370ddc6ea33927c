"""The client in process: it reads event by event, and can leave."""

import asyncio
import json

import anyio
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Mount, Route

from sse_asgi import EventStream, MessageEvent, Outcome, ServerSentEvent, testing
from sse_asgi.testing import BUFFER_SIZE, connect
from tests.sources import cleaning_up
from tests.stream.peer import PATIENCE, Record, soon

pytestmark = pytest.mark.anyio


async def endless(request):
    number = 0
    while True:
        yield str(number)
        number += 1
        await anyio.sleep(0)


async def idle(request):
    yield "a"
    await anyio.sleep_forever()


async def say(scope, receive, send):
    """Answer with what the request was."""
    request = Request(scope, receive)
    body = (await request.body()).decode()
    said = [
        request.method,
        request.url.path,
        dict(request.query_params),
        dict(request.headers),
        body,
    ]
    await JSONResponse(said)(scope, receive, send)


async def said(*arguments, **options):
    async with connect(say, *arguments, **options) as connection:
        return json.loads(await connection.read())


class TestReading:
    async def test_status_headers_and_events(self):
        async with connect(EventStream(["a", "b"], status=201)) as connection:
            assert connection.status == 201
            assert connection.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            events = [event async for event in connection]
        assert events == [MessageEvent("a"), MessageEvent("b"), MessageEvent("[DONE]")]
        assert connection.error is None

    async def test_types_ids_and_the_reconnection_time(self):
        source = [ServerSentEvent(event="tick", data="1", id="7", retry=50)]
        async with connect(EventStream(source)) as connection:
            event = await anext(connection)
            assert event == MessageEvent("1", type="tick", last_event_id="7")
            assert connection.decoder.last_event_id == "7"
            assert connection.decoder.reconnection_time == 50

    async def test_event_by_event_as_they_are_sent(self):
        seen = anyio.Event()

        async def source(request):
            yield "first"
            await soon(seen)
            yield "second"

        async with connect(EventStream(source)) as connection:
            assert (await anext(connection)).data == "first"
            seen.set()
            assert (await anext(connection)).data == "second"

    async def test_the_headers_are_there_before_any_event(self):
        async with connect(EventStream(idle)) as connection:
            assert connection.status == 200

    async def test_endless_streams(self):
        record = Record()
        async with connect(EventStream(endless, on_complete=record)) as connection:
            numbers = []
            async for event in connection:
                numbers.append(event.data)
                if len(numbers) == 100:
                    break
        assert numbers == [str(number) for number in range(100)]
        assert record.only.outcome is Outcome.DISCONNECTED

    async def test_the_end_is_the_end_each_time(self):
        async with connect(EventStream(["a"])) as connection:
            assert len([event async for event in connection]) == 2
            assert [event async for event in connection] == []
            assert await connection.read() == b""

    async def test_bytes(self):
        async with connect(PlainTextResponse("plain")) as connection:
            assert await connection.read() == b"plain"
            assert await connection.read() == b""

    async def test_a_reader_that_does_not_read_blocks_the_send(self):
        sent = []

        async def source(request):
            for _ in range(20):
                sent.append(1)
                yield "x" * BUFFER_SIZE

        async with connect(EventStream(source)) as connection:
            await anyio.wait_all_tasks_blocked()
            assert len(sent) < 6
            events = [event async for event in connection]
        assert len(events) == 21

    async def test_head_has_no_body(self):
        async with connect(EventStream(["a"]), method="HEAD") as connection:
            assert connection.status == 200
            assert await connection.read() == b""


class TestRequest:
    async def test_method_path_query_and_headers(self):
        method, path, query, headers, body = await said(
            "/answer?prompt=hi&n=1", method="PUT", headers={"X-Name": "é"}
        )
        assert (method, path, query, body) == ("PUT", "/answer", {"prompt": "hi", "n": "1"}, "")
        assert headers["x-name"] == "é"
        assert headers["host"] == "testserver"

    async def test_a_query_may_be_plain_text(self):
        assert (await said("/?prompt=né à&b=%20+"))[2] == {"prompt": "né à", "b": "  "}

    @pytest.mark.parametrize("path", ["/a b/é", "/a%20b/%C3%A9"])
    async def test_a_path_is_decoded_for_the_app(self, path):
        async def app(scope, receive, send):
            await PlainTextResponse(f"{scope['path']} {scope['raw_path'].decode()}")(
                scope, receive, send
            )

        async with connect(app, path) as connection:
            assert (await connection.read()).decode() == "/a b/é /a%20b/%C3%A9"

    async def test_json(self):
        _, _, _, headers, body = await said(method="POST", json={"a": "é"})
        assert json.loads(body) == {"a": "é"}
        assert headers["content-type"] == "application/json"
        assert int(headers["content-length"]) == len(body.encode())

    async def test_a_header_of_the_users_replaces_the_default_in_any_case(self):
        headers = (
            await said(method="POST", json=1, headers={"Content-Type": "text/x", "Host": "other"})
        )[3]
        assert headers["content-type"] == "text/x"
        assert headers["host"] == "other"

    async def test_the_app_may_be_a_frameworks(self):
        app = Starlette(routes=[Mount("/live", app=EventStream(["a"])), Route("/say", say)])
        async with connect(app, "/live/") as connection:
            assert (await anext(connection)).data == "a"


class TestLeaving:
    async def test_disconnect_ends_the_app(self):
        record, cleaned = Record(), []

        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    await anyio.sleep(0.01)
                cleaned.append(1)

        async with connect(EventStream(source, on_complete=record)) as connection:
            assert (await anext(connection)).data == "a"
            await connection.disconnect()
            assert cleaned == [1]
            assert record.only.outcome is Outcome.DISCONNECTED
            assert [event async for event in connection] == []
            await connection.disconnect()
        assert connection.error is None
        assert len(record) == 1

    async def test_leaving_the_block_disconnects_and_waits(self):
        record = Record()
        async with connect(EventStream(idle, on_complete=record)):
            pass
        assert record.only.outcome is Outcome.DISCONNECTED

    async def test_disconnect_while_another_task_reads(self):
        ended = []

        async def read(connection):
            ended.append([event.data async for event in connection])

        with anyio.fail_after(PATIENCE):
            async with connect(EventStream(idle)) as connection, anyio.create_task_group() as tasks:
                tasks.start_soon(read, connection)
                await anyio.wait_all_tasks_blocked()
                await connection.disconnect()
        assert ended == [["a"]]

    async def test_disconnect_frees_a_send_that_blocks(self):
        record = Record()

        async def source(request):
            while True:
                yield "x" * BUFFER_SIZE

        async with connect(EventStream(source, on_complete=record)) as connection:
            await anyio.wait_all_tasks_blocked()
            await connection.disconnect()
        assert record.only.outcome is Outcome.DISCONNECTED

    async def test_an_app_that_does_not_end_is_named_after_a_while(self, monkeypatch):
        monkeypatch.setattr(testing, "END_TIMEOUT", 0.05)

        async def stubborn(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await anyio.sleep_forever()

        with anyio.fail_after(PATIENCE), pytest.raises(RuntimeError, match="not ended"):
            async with connect(stubborn):
                pass


def broken(error):
    """Make an app that raises in the middle of its response."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"data: a\n\n", "more_body": True})
        raise error

    return app


class TestErrors:
    async def test_an_error_before_the_response_is_raised_bare(self):
        async def source(request):
            raise LookupError("no model")
            yield

        with pytest.raises(LookupError, match="no model"):
            async with connect(EventStream(source, prefetch=True)):
                raise AssertionError("there was no response")

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has none without a scope
    async def test_a_cancellation_of_the_apps_own_making_does_not_pass_for_the_tests(self):
        async def app(scope, receive, send):
            raise asyncio.CancelledError

        with pytest.raises(RuntimeError, match="without a response") as caught:
            async with connect(app):
                pass
        assert isinstance(caught.value.__cause__, asyncio.CancelledError)

    async def test_an_app_without_a_response_is_named(self):
        async def silent(scope, receive, send):
            pass

        with pytest.raises(RuntimeError, match="without a response"):
            async with connect(silent):
                pass

    async def test_an_error_after_the_start_is_kept(self):
        async with connect(broken(LookupError("later"))) as connection:
            assert [event.data async for event in connection] == ["a"]
        assert isinstance(connection.error, LookupError)

    @pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio has none without a scope
    async def test_a_cancellation_of_the_apps_own_making_is_an_error_too(self):
        async with connect(broken(asyncio.CancelledError())) as connection:
            assert [event.data async for event in connection] == ["a"]
        assert isinstance(connection.error, asyncio.CancelledError)

    async def test_an_error_of_the_test_is_raised_bare(self):
        with pytest.raises(ZeroDivisionError):
            async with connect(EventStream(idle)) as connection:
                await anext(connection)
                raise ZeroDivisionError

    async def test_an_error_of_the_test_wins_over_the_apps(self):
        async def source(request):
            try:
                yield "a"
                await anyio.sleep_forever()
            finally:
                raise LookupError

        with pytest.raises(ZeroDivisionError):
            async with connect(EventStream(source)) as connection:
                await anext(connection)
                raise ZeroDivisionError

    @pytest.mark.parametrize(
        "messages",
        [
            [{"type": "http.response.body", "body": b""}],
            [{"type": "http.response.start", "status": 200, "headers": []}] * 2,
            [{"type": "http.response.start", "status": 200, "headers": []}]
            + [{"type": "http.response.body", "body": b""}] * 2,
        ],
        ids=["body before start", "two starts", "after the end"],
    )
    async def test_an_app_that_breaks_the_rules_gets_an_error(self, messages):
        errors = []

        async def app(scope, receive, send):
            for message in messages:
                try:
                    await send(message)
                except RuntimeError as error:
                    errors.append(error)
                    raise

        with pytest.raises(RuntimeError) if len(messages) == 1 else anyio.CancelScope():
            async with connect(app):
                pass
        assert len(errors) == 1
