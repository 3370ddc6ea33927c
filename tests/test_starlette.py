"""Event streams that endpoints of Starlette and FastAPI return."""

import inspect
import sys
from typing import Annotated

import anyio
import pytest
from fastapi import BackgroundTasks, Depends, FastAPI, Header, HTTPException, Response
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.routing import Match, Mount, Route, WebSocketRoute

from sse_asgi import EventStream, EventStreamMiddleware, Outcome, Shutdown
from sse_asgi.starlette import EventStreamResponse
from sse_asgi.testing import connect
from tests.sources import cleaning_up
from tests.stream.peer import Peer, Record, logged_errors, soon

DONE = b"data: [DONE]\n\n"

pytestmark = pytest.mark.anyio


async def words(*chunks):
    for chunk in chunks:
        yield chunk


async def endless(log):
    try:
        yield "first"
        await anyio.sleep_forever()
    finally:
        with cleaning_up():
            await anyio.sleep(0.01)
        log.append("cleaned")


async def body_of(app, path="/", **request):
    async with connect(app, path, **request) as connection:
        parts = []
        while part := await connection.read():
            parts.append(part)
        assert connection.error is None
        return connection, b"".join(parts)


def starlette(endpoint, **options):
    return Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])], **options)


# Starlette


@pytest.mark.parametrize("status", [{"status": 201}, {"status_code": 201}])
async def test_endpoint_returns_a_stream(status):
    record = Record()

    async def endpoint(request):
        chunks = (await request.json())["prompt"].split()
        return EventStreamResponse(
            words(*chunks), on_complete=record, headers={"x-own": "1"}, **status
        )

    connection, body = await body_of(starlette(endpoint), method="POST", json={"prompt": "a b"})
    assert connection.status == 201
    assert connection.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert connection.headers["x-accel-buffering"] == "no"
    assert connection.headers["x-own"] == "1"
    assert "content-length" not in connection.headers
    assert body == b"data: a\n\ndata: b\n\n" + DONE
    assert record.only.outcome is Outcome.COMPLETED
    assert record.only.text == "ab"


async def test_headers_cookies_and_status_may_still_be_changed():
    async def endpoint(request):
        response = EventStreamResponse(words("a"), headers={"x-own": "1"})
        response.set_cookie("session", "abc")
        response.headers["x-late"] = "2"
        del response.headers["x-own"]
        response.status_code = 202
        return response

    connection, _ = await body_of(starlette(endpoint))
    assert connection.status == 202
    assert connection.headers["set-cookie"].startswith("session=abc")
    assert connection.headers["x-late"] == "2"
    assert "x-own" not in connection.headers
    assert connection.headers["cache-control"] == "no-store, no-transform"


async def test_callable_source_gets_a_request():
    async def source(request):
        yield request.query_params["name"]

    app = starlette(lambda request: EventStreamResponse(source))
    _, body = await body_of(app, "/?name=bob")
    assert body == b"data: bob\n\n" + DONE


async def test_background_task_runs_after_the_stream():
    log = []

    async def background():
        log.append("background")

    async def endpoint(request):
        return EventStreamResponse(
            words("a"),
            on_complete=lambda transcript: log.append(str(transcript.outcome)),
            background=BackgroundTask(background),
        )

    await body_of(starlette(endpoint))
    assert log == ["completed", "background"]


async def test_background_task_runs_also_when_the_client_has_left():
    log = []
    background = BackgroundTask(log.append, "background")
    app = starlette(lambda request: EventStreamResponse(endless(log), background=background))
    async with connect(app) as connection:
        await anext(connection)
        await connection.disconnect()
    assert log == ["cleaned", "background"]


async def test_head_gets_the_headers_alone():
    def endpoint(request):
        return EventStreamResponse(words("a"))

    app = Starlette(routes=[Route("/", endpoint)])
    connection, body = await body_of(app, method="HEAD")
    assert connection.status == 200
    assert connection.headers["content-type"].startswith("text/event-stream")
    assert body == b""


async def test_source_that_raises_tells_the_client_and_not_the_framework(caplog):
    async def source(request):
        yield "a"
        raise ValueError("secret")

    app = starlette(lambda request: EventStreamResponse(source))
    async with connect(app) as connection:
        events = [event async for event in connection]
    assert [event.type for event in events] == ["message", "error"]
    assert connection.error is None
    assert [type(each) for each in logged_errors(caplog.records)] == [ValueError]


async def test_prefetched_failure_is_the_frameworks_to_answer():
    async def source(request):
        raise PermissionError
        yield

    async def refuse(request, error):
        from starlette.responses import PlainTextResponse

        return PlainTextResponse("no", status_code=403)

    app = starlette(
        lambda request: EventStreamResponse(source, prefetch=True),
        exception_handlers={PermissionError: refuse},
    )
    connection, body = await body_of(app)
    assert (connection.status, body) == (403, b"no")


async def test_an_event_stream_may_be_mounted_or_be_an_endpoint():
    async def source(request):
        yield request.path_params.get("name", "-")

    app = Starlette(
        routes=[
            Route("/named/{name}", EventStream(source)),
            Mount("/mounted", EventStream(source)),
        ]
    )
    assert (await body_of(app, "/named/bob"))[1] == b"data: bob\n\n" + DONE
    assert (await body_of(app, "/mounted/"))[1] == b"data: -\n\n" + DONE


@pytest.mark.parametrize("options", [{"heartbeat": -1}, {"nonsense": 1}])
async def test_wrong_options_are_refused(options):
    with pytest.raises((ValueError, TypeError), match=next(iter(options))):
        EventStreamResponse(words("a"), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"media_type": "text/event-stream"},
            r"no option media_type, as 'text/event-stream': .*; leave it out",
        ),
        ({"ping": 15}, r"no option ping; did you mean heartbeat\?"),
        ({"hartbeat": 15}, r"no option hartbeat; did you mean heartbeat\?"),
        ({"sep": "x"}, "no option sep; there are framing, on_chunk, .*, context, .*"),
        ({"content": ["a"]}, "no option content: pass the source first"),
        ({"status": 201, "status_code": 202}, "status=201 and status_code=202, .* one of them"),
    ],
)
async def test_options_of_other_responses_are_refused_with_a_remedy(options, message):
    with pytest.raises(TypeError, match=message):
        EventStreamResponse(words("a"), **options)


async def test_a_response_without_a_source_is_refused():
    with pytest.raises(TypeError, match="needs a source: pass an iterable of strings"):
        EventStreamResponse()
    with pytest.raises(TypeError, match="no option content: pass the source first"):
        EventStreamResponse(content=["a"])


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_endpoint_of_fastapi_that_yields_is_told_to_return(is_async):
    app = FastAPI()

    async def endpoint():
        yield "a"

    def sync_endpoint():
        yield "a"

    app.get("/", response_class=EventStreamResponse)(endpoint if is_async else sync_endpoint)
    async with connect(app) as connection:
        assert connection.status == 500
        await connection.read()
    assert isinstance(connection.error, TypeError)
    assert str(connection.error).endswith("return EventStreamResponse(function())")


async def test_response_serves_one_request():
    response = EventStreamResponse(words("a"))
    app = starlette(lambda request: response)
    await body_of(app)
    with pytest.raises(Exception, match="served its one response"):
        await body_of(app)


class Inspected:
    """A hook that counts how often its signature is looked at."""

    def __init__(self):
        self.looks = 0

    def __call__(self, value):
        pass

    @property
    def __signature__(self):
        self.looks += 1
        return inspect.signature(lambda value: None)


async def test_options_are_checked_once_and_not_again_for_each_request():
    hook = Inspected()
    responses = []

    async def endpoint(request):
        responses.append(EventStreamResponse(words("a"), on_complete=hook, on_chunk=hook))
        responses[-1].status_code = 202
        responses[-1].headers["x-late"] = "1"
        looks.append(hook.looks)
        return responses[-1]

    looks = []
    connection, _ = await body_of(starlette(endpoint))
    assert (connection.status, connection.headers["x-late"]) == (202, "1")
    assert looks == [hook.looks]


# As an answer to a WebSocket


async def refused_websocket(app, *, extension):
    """Ask for a WebSocket that is refused with a response; return what was sent."""
    sent = []
    scope = {
        "type": "websocket",
        "path": "/",
        "query_string": b"",
        "headers": [],
        "subprotocols": [],
        "extensions": {"websocket.http.response": {}} if extension else {},
    }
    messages = [{"type": "websocket.connect"}]

    async def receive():
        if not messages:
            await anyio.sleep_forever()
        return messages.pop()

    async def send(message):
        sent.append(message)

    with anyio.fail_after(3):
        await app(scope, receive, send)
    return sent


@pytest.mark.parametrize("has_read", [False, True])
@pytest.mark.parametrize("extension", [True, False])
async def test_response_that_denies_a_websocket_is_sent_or_closes_it_at_once(extension, has_read):
    async def endpoint(scope, receive, send):
        if has_read:
            assert (await receive())["type"] == "websocket.connect"
        response = EventStreamResponse(words("a"), status_code=403)
        await response(scope, receive, send)

    sent = await refused_websocket(endpoint, extension=extension)
    if sent[0]["type"] == "websocket.http.response.start":
        assert extension
        assert sent[0]["status"] == 403
        assert all(each["type"] == "websocket.http.response.body" for each in sent[1:])
        assert [each.get("more_body", False) for each in sent[1:]][-1] is False
    else:
        assert [each["type"] for each in sent] == ["websocket.close"]


async def test_starlettes_websocket_may_be_denied_with_it():
    async def endpoint(websocket):
        await websocket.receive()
        await websocket.send_denial_response(EventStreamResponse(words("a"), status_code=403))

    app = Starlette(routes=[WebSocketRoute("/", endpoint)])
    sent = await refused_websocket(app, extension=True)
    assert sent[0]["type"] in ("websocket.http.response.start", "websocket.close")


# Code that looks at the endpoint


class Limits:
    """A middleware that finds a limit by the name of the endpoint, as slowapi does."""

    def __init__(self, app, names):
        self.app, self.names = app, names

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            for route in scope["app"].routes:
                if route.matches(scope)[0] is Match.FULL:
                    handler = route.endpoint
                    self.names.append(f"{handler.__module__}.{handler.__name__}")
        await self.app(scope, receive, send)


async def test_an_event_stream_as_an_endpoint_has_a_name():
    async def answer(request):
        yield "a"

    names = []
    app = Starlette(
        routes=[Route("/a", EventStream(answer)), Route("/b", EventStream(["a"]))],
        middleware=[Middleware(Limits, names=names)],
    )
    for path in ("/a", "/b"):
        connection, body = await body_of(app, path)
        assert (connection.status, body) == (200, b"data: a\n\n" + DONE)
    assert len(names) == 2
    assert all(name.rpartition(".")[2].isidentifier() for name in names)


# Starlette's middleware


class Stamp(BaseHTTPMiddleware):
    async def dispatch(self, request, call_next):
        response = await call_next(request)
        response.headers["x-stamp"] = "1"
        return response


INSIDE = {
    "BaseHTTPMiddleware": Middleware(Stamp),
    "GZipMiddleware": Middleware(GZipMiddleware, minimum_size=1),
    "CORSMiddleware": Middleware(CORSMiddleware, allow_origins=["*"]),
}
GZIPPED = {"accept-encoding": "gzip", "origin": "http://example.com"}


async def plain_stream(request):
    from starlette.responses import StreamingResponse

    async def events():
        yield "data: a\n\n"
        yield "data: b\n\n"

    return StreamingResponse(events(), media_type="text/event-stream")


@pytest.mark.parametrize("name", INSIDE)
async def test_response_passes_through_middleware(name):
    record = Record()
    app = starlette(
        lambda request: EventStreamResponse(words("a", "b"), on_complete=record),
        middleware=[INSIDE[name]],
    )
    connection, body = await body_of(app, headers=GZIPPED)
    assert body == b"data: a\n\ndata: b\n\n" + DONE
    assert "content-encoding" not in connection.headers
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("place", ["inside", "outside"])
async def test_our_middleware_gets_along_with_starlettes(name, place):
    record, shutdown = Record(), None
    ours = Middleware(EventStreamMiddleware, on_complete=record, shutdown=shutdown)
    middleware = [INSIDE[name], ours] if place == "inside" else [ours, INSIDE[name]]
    app = starlette(plain_stream, middleware=middleware)
    connection, body = await body_of(app, headers=GZIPPED)
    assert body == b"data: a\n\ndata: b\n\n"
    assert connection.headers["x-accel-buffering"] == "no"
    assert connection.headers["cache-control"] == "no-store, no-transform"
    assert record.only.text == "ab"
    assert record.only.outcome is Outcome.COMPLETED


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("wrapped", [False, True])
async def test_disconnect_passes_through_middleware(name, wrapped):
    log, record = [], Record()

    async def endpoint(request):
        if not wrapped:
            return EventStreamResponse(endless(log), on_complete=record)
        from starlette.responses import StreamingResponse

        frames = (f"data: {chunk}\n\n" async for chunk in endless(log))
        return StreamingResponse(frames, media_type="text/event-stream")

    app = starlette(endpoint, middleware=[INSIDE[name]])
    if wrapped:
        app = EventStreamMiddleware(app, on_complete=record)
    async with connect(app) as connection:
        await anext(connection)
        await connection.disconnect()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert record.only.text == "first"
    if not wrapped:  # Starlette's own response has lost the generator's clean-up
        assert log == ["cleaned"]


@pytest.mark.parametrize("name", INSIDE)
async def test_disconnect_before_a_prefetched_chunk_is_nobodys_error(name):
    opened, record = anyio.Event(), Record()

    async def source(request):
        opened.set()
        await anyio.sleep_forever()
        yield "never"

    app = starlette(
        lambda request: EventStreamResponse(source, prefetch=True, on_complete=record),
        middleware=[INSIDE[name]],
    )
    async with Peer(app) as peer:
        await soon(opened)
        peer.leave()
    assert peer.raised is None
    assert peer.body == b""
    assert record.only.outcome is Outcome.DISCONNECTED


@pytest.mark.parametrize("name", INSIDE)
async def test_shutdown_passes_through_middleware(name):
    log, record, shutdown = [], Record(), Shutdown(grace=0, signals=False)
    app = starlette(
        lambda request: EventStreamResponse(endless(log), on_complete=record, shutdown=shutdown),
        middleware=[INSIDE[name]],
    )
    async with connect(app) as connection:
        await anext(connection)
        shutdown.begin()
        assert [event async for event in connection] == []
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert log == ["cleaned"]


# FastAPI


async def test_yield_dependencies_end_after_the_stream():
    log = []

    async def session():
        log.append("opened")
        yield "session"
        log.append("closed")

    app = FastAPI()

    @app.get("/")
    async def endpoint(session: Annotated[str, Depends(session)]):
        async def source(request):
            yield session
            log.append("streamed")

        return EventStreamResponse(source, on_complete=lambda transcript: log.append("saved"))

    _, body = await body_of(app)
    assert body == b"data: session\n\n" + DONE
    assert log == ["opened", "streamed", "saved", "closed"]


async def test_yield_dependencies_end_when_the_client_leaves():
    log = []

    async def session():
        try:
            yield "session"
        finally:
            log.append("closed")

    app = FastAPI()

    @app.get("/")
    async def endpoint(session: Annotated[str, Depends(session)]):
        return EventStreamResponse(endless(log))

    async with connect(app) as connection:
        await anext(connection)
        await connection.disconnect()
    assert log == ["cleaned", "closed"]


async def test_background_tasks_of_fastapi_run():
    log, app = [], FastAPI()

    @app.post("/")
    async def endpoint(tasks: BackgroundTasks):
        tasks.add_task(log.append, "background")
        return EventStreamResponse(words("a"))

    await body_of(app, method="POST")
    assert log == ["background"]


async def test_headers_of_dependencies_follow_fastapis_rules():
    """FastAPI leaves a response that an endpoint returns as it is, whatever its class."""

    def stamp(response: Response):
        response.headers["x-dependency"] = "1"
        response.set_cookie("seen", "yes")

    app = FastAPI()

    @app.get("/")
    async def ours(_: Annotated[None, Depends(stamp)]):
        return EventStreamResponse(words("a"))

    @app.get("/theirs")
    async def theirs(_: Annotated[None, Depends(stamp)]):
        return Response("a")

    @app.get("/by-hand")
    async def by_hand(response: Response, _: Annotated[None, Depends(stamp)]):
        stream = EventStreamResponse(words("a"))
        stream.raw_headers.extend(
            (name, value)
            for name, value in response.raw_headers
            if name in (b"x-dependency", b"set-cookie")
        )
        return stream

    connection, _ = await body_of(app)
    other, _ = await body_of(app, "/theirs")
    assert ("x-dependency" in connection.headers) == ("x-dependency" in other.headers)
    connection, _ = await body_of(app, "/by-hand")
    assert connection.headers["x-dependency"] == "1"
    assert connection.headers["set-cookie"].startswith("seen=yes")


async def test_dependency_rejects_before_the_stream():
    started = []

    def authorized(authorization: str = Header()):
        if authorization != "Bearer secret":
            raise HTTPException(403, "not you")

    app = FastAPI()

    @app.get("/")
    async def endpoint(_: Annotated[None, Depends(authorized)]):
        async def source(request):
            started.append(request)
            yield "a"

        return EventStreamResponse(source)

    connection, body = await body_of(app, headers={"authorization": "Bearer wrong"})
    assert (connection.status, body) == (403, b'{"detail":"not you"}')
    assert started == []
    connection, _ = await body_of(app, headers={"authorization": "Bearer secret"})
    assert connection.status == 200
    assert len(started) == 1


async def test_openapi_shows_the_event_stream():
    app = FastAPI()

    @app.get("/stream", response_class=EventStreamResponse)
    async def endpoint():
        return EventStreamResponse(words("a"))

    content = app.openapi()["paths"]["/stream"]["get"]["responses"]["200"]["content"]
    assert list(content) == ["text/event-stream"]
    _, body = await body_of(app, "/stream")
    assert body == b"data: a\n\n" + DONE


async def test_body_that_the_endpoint_has_read_hides_no_disconnect():
    log, app = [], FastAPI()

    @app.post("/")
    async def endpoint(request: Request):
        await request.body()
        return EventStreamResponse(endless(log))

    async with connect(app, method="POST", json={"a": 1}) as connection:
        await anext(connection)
        await connection.disconnect()
    assert log == ["cleaned"]


@pytest.mark.matrix("anyio_backend")
async def test_missing_starlette_is_named():
    code = "import sys; sys.modules['starlette.background'] = None; import sse_asgi.starlette"
    run = await anyio.run_process([sys.executable, "-c", code], check=False)
    assert run.returncode == 1
    assert b"sse_asgi.starlette needs Starlette: pip install starlette" in run.stderr
    await anyio.run_process([sys.executable, "-c", "import sse_asgi"])
