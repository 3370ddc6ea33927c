"""The request, as a source sees it."""

import json

import anyio
import pytest
from starlette.requests import ClientDisconnect
from starlette.requests import Request as StarletteRequest

from sse_asgi import EventStream, Outcome, Request, RequestTooLargeError
from sse_asgi.source.request import Headers
from tests.stream.peer import DISCONNECT, PATIENCE, Peer, Record, http_scope, run, soon

pytestmark = pytest.mark.anyio


def part(body, *, more=False):
    return {"type": "http.request", "body": body, "more_body": more}


def request(*messages, max_body_size=100, **scope):
    made = Request(http_scope(**scope), max_body_size=max_body_size)
    for message in messages:
        made.feed(message)
    return made


class TestScope:
    def test_gives_what_the_server_said(self):
        made = request(method="POST", path="/answer/é", path_params={"id": 7})
        assert (made.method, made.path, made.path_params) == ("POST", "/answer/é", {"id": 7})
        assert made.scope["type"] == "http"

    @pytest.mark.parametrize("scope", [{}, {"path_params": None}])
    def test_has_no_path_params_without_a_router(self, scope):
        assert request(**scope).path_params == {}

    @pytest.mark.parametrize(
        ("query", "params"),
        [
            (b"", {}), (b"a=1&b=2", {"a": "1", "b": "2"}), (b"a=1&a=2", {"a": "2"}),
            (b"a=", {"a": ""}),
            (b"a", {"a": ""}), (b"a=%C3%A9+%26", {"a": "é &"}), (b"a=%FF", {"a": "\ufffd"}),
        ],
    )  # fmt: skip
    def test_query_params(self, query, params):
        assert request(query_string=query).query_params == params

    def test_query_params_without_a_query(self):
        scope = http_scope()
        del scope["query_string"]
        assert Request(scope).query_params == {}

    @pytest.mark.parametrize("name", ["state", "user", "session", "cookies", "url", "client"])
    def test_names_the_way_to_what_only_a_framework_has(self, name):
        made = request(state={"db": "ours"})
        with pytest.raises(AttributeError, match=r"Request\(request.scope, request.receive\)"):
            getattr(made, name)
        assert not hasattr(made, name)
        assert StarletteRequest(made.scope, made.receive).state.db == "ours"


class TestHeaders:
    def test_names_compare_without_regard_to_case(self):
        headers = request(headers=[(b"X-Name", b"\xe9")]).headers
        assert headers["x-name"] == headers["X-NAME"] == headers.get("X-Name") == "é"
        assert "X-NAME" in headers
        assert "other" not in headers

    def test_is_a_mapping(self):
        headers = Headers([(b"a", b"1"), (b"b", b"2")])
        assert dict(headers) == {"a": "1", "b": "2"}
        assert len(headers) == 2

    def test_a_field_that_came_twice_is_joined(self):
        headers = Headers([(b"a", b"1"), (b"A", b"2"), (b"cookie", b"c=1"), (b"cookie", b"d=2")])
        assert headers["a"] == "1, 2"
        assert headers["cookie"] == "c=1; d=2"

    def test_repr_tells_no_value(self):
        text = repr(Headers([(b"authorization", b"secret")]))
        assert "authorization" in text
        assert "secret" not in text


class TestBody:
    async def test_joins_the_parts(self):
        made = request(part(b"one ", more=True), part(b"", more=True), part(b"two"))
        assert await made.body() == b"one two"
        assert await made.body() == b"one two"

    async def test_waits_for_the_end(self):
        made, bodies = request(part(b"one ", more=True)), []

        async def read():
            bodies.append(await made.body())

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                assert bodies == []
                made.feed(part(b"two"))
        assert bodies == [b"one two", b"one two"]

    async def test_nothing_after_its_end_counts(self):
        made = request(part(b"one"), part(b"one"), part(b"one"))
        assert await made.body() == b"one"

    async def test_a_message_may_leave_out_its_fields(self):
        assert await request({"type": "http.request"}).body() == b""

    async def test_json(self):
        assert await request(part(b'{"a": ', more=True), part(b'"\xc3\xa9"}')).json() == {"a": "é"}

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff"])
    async def test_what_is_no_json_is_a_value_error(self, body):
        with pytest.raises(ValueError):
            await request(part(body)).json()

    async def test_of_just_the_limit_is_taken(self):
        assert await request(part(b"12", more=True), part(b"34"), max_body_size=4).body() == b"1234"

    @pytest.mark.parametrize("read", [Request.body, Request.json, Request.receive])
    async def test_over_the_limit_is_an_error_that_names_the_limit(self, read):
        made = request(part(b"123", more=True), part(b"45", more=True), max_body_size=4)
        with pytest.raises(RequestTooLargeError, match=r"4 bytes.*max_body_size"):
            await read(made)

    async def test_over_the_limit_is_not_kept(self):
        made = request(
            part(b"x" * 60, more=True), part(b"x" * 60, more=True), part(b"x", more=True)
        )
        assert sum(map(len, made._parts)) == 0

    async def test_a_reader_that_waits_is_told_of_the_limit(self):
        made, errors = request(max_body_size=4), []

        async def read():
            try:
                await made.body()
            except RequestTooLargeError as error:
                errors.append(error)

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                made.feed(part(b"12345", more=True))
        assert len(errors) == 1


class TestReceive:
    async def test_gives_the_body_then_the_disconnect(self):
        made = request(part(b"one", more=True), part(b"two"), DISCONNECT)
        messages = [await made.receive() for _ in range(4)]
        assert messages == [part(b"one", more=True), part(b"two"), DISCONNECT, DISCONNECT]

    async def test_waits_for_a_body_that_has_not_begun(self):
        made, messages = request(), []

        async def read():
            messages.append(await made.receive())

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                assert messages == []
                made.feed(part(b"one", more=True))
        assert messages == [part(b"one", more=True)]

    async def test_a_disconnect_before_the_body_is_all_there_is(self):
        assert await request(DISCONNECT).receive() == DISCONNECT

    async def test_an_empty_body_is_one_message(self):
        assert await request(part(b"")).receive() == part(b"")

    async def test_an_empty_last_part_ends_the_body(self):
        made = request(part(b"one", more=True))
        assert await made.receive() == part(b"one", more=True)
        made.feed(part(b""))
        assert await made.receive() == part(b"")

    async def test_waits_for_the_disconnect(self):
        made, messages = request(part(b"")), []
        await made.receive()

        async def read():
            messages.append(await made.receive())

        with anyio.fail_after(PATIENCE):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(read)
                await anyio.wait_all_tasks_blocked()
                made.feed(DISCONNECT)
        assert messages == [DISCONNECT]

    async def test_the_body_is_there_for_all_readers(self):
        made = request(part(b'{"a":', more=True), part(b"1}"))
        await made.receive()
        assert await made.json() == {"a": 1}
        assert await made.receive() == part(b"1}")

    async def test_serves_a_frameworks_own_request(self):
        made = request(part(b'{"a":', more=True), part(b"1}"), method="POST", query_string=b"q=2")
        theirs = StarletteRequest(made.scope, made.receive)
        assert await theirs.json() == {"a": 1}
        assert theirs.query_params["q"] == "2"
        assert await made.body() == b'{"a":1}'

    async def test_tells_a_frameworks_own_request_of_the_disconnect(self):
        theirs_lost = request(part(b"1", more=True), DISCONNECT)
        with pytest.raises(ClientDisconnect):
            await StarletteRequest(theirs_lost.scope, theirs_lost.receive).body()
        idle = request(part(b""))
        theirs = StarletteRequest(idle.scope, idle.receive)
        assert not await theirs.is_disconnected()
        idle.feed(DISCONNECT)
        assert await theirs.is_disconnected()


class TestInAStream:
    """The body while the client is watched."""

    BODY = json.dumps({"prompt": "é" * 10}).encode()
    PARTS = (BODY[:5], BODY[5:6], b"", BODY[6:])

    async def test_before_the_source_is_made(self):
        async def source(request):
            prompt = (await request.json())["prompt"]
            return iter([prompt])

        peer, transcript = await run(source, peer={"body": self.PARTS, "method": "POST"})
        assert peer.text == transcript.text == "é" * 10

    async def test_inside_the_generator_after_chunks_and_pauses(self):
        async def source(request):
            yield request.method
            await anyio.sleep(0.01)
            yield (await request.body()).decode()
            theirs = StarletteRequest(request.scope, request.receive)
            yield (await theirs.json())["prompt"]
            yield (await request.json())["prompt"]

        peer, transcript = await run(source, peer={"body": self.PARTS, "method": "POST"})
        assert transcript.text == "POST" + self.BODY.decode() + "é" * 20
        assert peer.text == transcript.text

    async def test_chunks_leave_while_the_body_still_comes(self):
        async def source(request):
            yield "first"
            yield (await request.body()).decode()

        app = EventStream(source)
        more = anyio.Event()
        peer = Peer(app, body=(b"one ", b"two"))
        receive = peer.receive

        async def slow_receive():
            if len(peer._parts) == 1:
                await more.wait()
            return await receive()

        peer.receive = slow_receive
        async with peer:
            await peer.received(b"first")
            more.set()
        assert peer.text == "firstone two"

    async def test_receive_waits_in_the_source_for_a_body_that_comes_late(self):
        more, waits = anyio.Event(), anyio.Event()

        async def source(request):
            waits.set()
            yield (await request.receive())["body"].decode()

        peer = Peer(EventStream(source), body=(b"late",))
        receive = peer.receive

        async def slow_receive():
            await more.wait()
            return await receive()

        peer.receive = slow_receive
        async with peer:
            await soon(waits)
            await anyio.wait_all_tasks_blocked()
            assert peer.text == ""
            more.set()
        assert peer.text == "late"

    @pytest.mark.parametrize("read", [Request.body, Request.json])
    async def test_a_body_that_never_comes_is_an_error_that_names_the_cause(
        self, read, monkeypatch
    ):
        """As where a framework has read it: nothing would tell the source that it waits in vain."""
        monkeypatch.setattr("sse_asgi.source.request.BODY_TIMEOUT", 0.05)

        async def source(request):
            yield "first"
            await read(request)

        record = Record()
        async with Peer(EventStream(source, on_complete=record), body=(), method="POST") as peer:
            pass
        assert record.only.outcome is Outcome.FAILED
        assert peer.text == "first"
        assert isinstance(peer.failure, RuntimeError)
        message = "no body has come within 0.05 s: the framework has probably read it"
        assert message in str(peer.failure)

    async def test_a_body_that_has_begun_may_take_its_time(self, monkeypatch):
        """The limit is for its first part; a slow upload is no missing body."""
        monkeypatch.setattr("sse_asgi.source.request.BODY_TIMEOUT", 0.05)

        async def source(request):
            yield (await request.body()).decode()

        peer = Peer(EventStream(source), body=(b"one ", b"two"))
        receive = peer.receive

        async def slow_receive():
            if len(peer._parts) == 1:
                await anyio.sleep(0.15)
            return await receive()

        peer.receive = slow_receive
        async with peer:
            pass
        assert peer.text == "one two"

    async def test_over_the_limit_fails_the_source(self):
        async def source(request):
            yield "first"
            await request.body()
            yield "never"

        peer, transcript = await run(source, max_body_size=10, peer={"body": (b"x" * 6, b"x" * 6)})
        assert transcript.outcome is Outcome.FAILED
        assert isinstance(transcript.error, RequestTooLargeError)
        assert peer.failure is transcript.error
        assert peer.text == "first"

    async def test_over_the_limit_disturbs_no_source_that_does_not_read_it(self):
        async def source(request):
            yield "text"

        peer, transcript = await run(source, max_body_size=0, peer={"body": (b"x" * 6, b"x" * 6)})
        assert transcript.outcome is Outcome.COMPLETED
        assert peer.text == "text"

    async def test_the_client_that_leaves_in_the_middle_of_its_body_is_a_disconnect(self):
        async def source(request):
            await request.body()
            yield "never"

        record = Record()
        peer = Peer(EventStream(source, on_complete=record))
        messages = [part(b"one", more=True), DISCONNECT]

        async def receive():
            if len(messages) == 1:
                await peer.until(lambda: peer.bodies)
            return messages.pop(0)

        peer.receive = receive
        async with peer:
            pass
        assert record.only.outcome is Outcome.DISCONNECTED
        assert peer.raised is None
