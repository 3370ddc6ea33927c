"""EventStream as an ASGI application: HTTP of every method, lifespan, WebSocket."""

import anyio
import pytest

from sse_asgi import EventStream, Outcome, SourceSpentError
from tests.stream.peer import PATIENCE, Peer, Record, http_scope, run

pytestmark = pytest.mark.anyio


async def talk(app, scope, *messages):
    """Give an app these messages, and return what it sends."""
    incoming, sent = list(messages), []

    async def receive():
        return incoming.pop(0)

    async def send(message):
        sent.append(message)

    with anyio.fail_after(PATIENCE):
        await app(scope, receive, send)
    assert incoming == []
    return sent


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "OPTIONS", "QUERY"])
async def test_answers_every_method(method):
    peer, _ = await run(["a"], peer={"method": method})
    assert peer.text == "a"


class TestHead:
    async def test_gives_the_head_of_get_and_leaves_the_source_alone(self):
        calls, record = [], Record()

        def source(request):
            calls.append(request)
            return ["a"]

        app = EventStream(source, status=202, headers={"x-name": "1"}, on_complete=record)
        async with Peer(app, method="HEAD") as head:
            pass
        assert calls == record == []
        assert head.body == b""
        assert head.closed
        async with Peer(app) as get:
            pass
        assert (head.status, head.headers) == (get.status, get.headers)

    async def test_does_not_spend_an_iterator(self):
        app = EventStream(iter(["a"]))
        async with Peer(app, method="HEAD"):
            pass
        async with Peer(app) as peer:
            pass
        assert peer.text == "a"

    async def test_of_a_spent_iterator_is_answered(self):
        app = EventStream(iter(["a"]))
        async with Peer(app):
            pass
        async with Peer(app, method="HEAD") as peer:
            pass
        assert peer.status == 200

    async def test_a_middleware_may_change_its_headers_only(self):
        async def add(message):
            message.get("headers", []).append((b"x-added", b"1"))

        app = EventStream(["a"])
        for _ in range(2):
            async with Peer(app, method="HEAD", on_send=add) as peer:
                pass
            assert peer.headers.count((b"x-added", b"1")) == 1


class TestSpent:
    async def test_a_second_request_is_a_clear_error_and_no_stream(self):
        record = Record()

        async def generator():
            yield "a"

        app = EventStream(generator(), on_complete=record)
        async with Peer(app):
            pass
        async with Peer(app) as second:
            pass
        assert isinstance(second.raised, SourceSpentError)
        assert isinstance(second.raised, RuntimeError)
        assert "async_generator" in str(second.raised)
        assert second.attempts == 0
        assert len(record) == 1


async def test_lifespan_is_completed():
    sent = await talk(
        EventStream(["a"]),
        {"type": "lifespan"},
        {"type": "lifespan.startup"},
        {"type": "lifespan.shutdown"},
    )
    assert sent == [{"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}]


async def test_a_websocket_is_refused_before_it_is_accepted():
    calls = []
    sent = await talk(
        EventStream(lambda request: calls), {"type": "websocket"}, {"type": "websocket.connect"}
    )
    assert [message["type"] for message in sent] == ["websocket.close"]
    assert calls == []


async def test_another_kind_of_scope_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="'telnet'"):
        await talk(EventStream(["a"]), {"type": "telnet"})


async def test_the_scope_is_not_changed():
    scope = http_scope(headers=[(b"a", b"1")])
    before = dict(scope)
    peer = Peer(EventStream(["a"]))
    peer.scope = scope
    async with peer:
        pass
    assert scope == before


async def test_one_app_serves_many_at_once():
    record = Record()

    async def source(request):
        for _ in range(3):
            yield request.query_params["n"]
            await anyio.sleep(0)

    app = EventStream(source, on_complete=record)
    peers = [Peer(app, query_string=b"n=%d" % number) for number in range(20)]
    with anyio.fail_after(PATIENCE):
        async with anyio.create_task_group() as tasks:
            for peer in peers:
                tasks.start_soon(peer.run)
    assert [peer.text for peer in peers] == [str(number) * 3 for number in range(20)]
    assert [transcript.outcome for transcript in record] == [Outcome.COMPLETED] * 20
    assert sorted(transcript.text for transcript in record) == sorted(peer.text for peer in peers)
