"""Compressed streams: negotiated, event by event, the same text, and off where it is in vain."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import (
    EventStream,
    EventStreamDecoder,
    EventStreamMiddleware,
    JSONFraming,
    Reasoning,
    TextFraming,
)
from sse_asgi import compression as module
from sse_asgi.chat import ChatApp
from sse_asgi.compression import negotiated
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.limits import Limits
from sse_asgi.starlette import EventStreamResponse
from sse_asgi.testing import connect
from sse_asgi.wire.events import well_formed
from sse_asgi.wire.framing import items_of
from tests import documents
from tests.chat.asking import BODIES, CHAT, Client
from tests.compressed import CODINGS, bodies_of, decompressor, zstd
from tests.examples import examples
from tests.limits.visits import Visit

pytestmark = pytest.mark.anyio
GZIP = {"accept-encoding": "gzip"}
DIALECTS = [
    ChatCompletions("m"),
    Responses("m"),
    AnthropicMessages("m"),
    UIMessages(),
    AGUI(thread_id="t", run_id="r"),
]


@pytest.fixture(params=["gzip", "zstd"])
def coding(request):
    if request.param == "zstd":
        zstd()
    return request.param


async def words(request):
    for word in ("one ", "two ", "three "):
        await anyio.sleep(0.001)
        yield word


async def messages_of(app, accept, **scope):
    """Return the start of a response, and the messages of its body."""
    visit = Visit(app, **scope)
    visit.scope["headers"] += [] if accept is None else [(b"accept-encoding", accept.encode())]
    await visit.run()
    return visit, visit.sent[1:]


def compressed(source=words, framing=None, **options):
    framing = framing or ChatCompletions("m", id="x")
    return EventStream(source, framing=framing, **{"compress": CODINGS, **options})


# Every event at once, and the same bytes


@pytest.mark.parametrize("framing", DIALECTS, ids=lambda framing: type(framing).__name__)
async def test_each_message_can_be_read_by_itself(framing, coding):
    visit, messages = await messages_of(compressed(framing=framing), coding)
    assert visit.headers["content-encoding"] == coding
    assert visit.headers["vary"] == "accept-encoding"
    assert visit.headers["cache-control"] == "no-store, no-transform"
    read = bodies_of(messages, coding)
    assert all(body.endswith(b"\n\n") for body in read if body)
    assert [word in body for word, body in zip((b"one", b"two", b"three"), read, strict=False)]
    assert b"three" in b"".join(read)
    undo = decompressor(coding)
    whole = undo(b"".join(message["body"] for message in messages))
    assert whole == b"".join(read)


@examples(40)
@given(
    chunks=st.lists(
        st.one_of(st.text(max_size=20), st.just(Reasoning("r")), st.just("x" * 5_000)), max_size=12
    ),
    waits=st.lists(st.integers(0, 3), min_size=12, max_size=12),
    coding=st.sampled_from(CODINGS),
)
def test_the_text_is_that_of_the_source(chunks, waits, coding):
    decompressor(coding)
    framing = UIMessages(message_id="m")

    async def source(request):
        for chunk, turns in zip(chunks, waits, strict=False):
            for _ in range(turns):
                await asyncio.sleep(0)
            yield chunk

    async def received():
        _, messages = await messages_of(compressed(source, framing), coding)
        events = EventStreamDecoder().feed(b"".join(bodies_of(messages, coding)))
        decode = framing.decoder()
        return [item for event in events for item in items_of(decode(event))]

    items = asyncio.run(received())
    text = "".join(item for item in items if isinstance(item, str))
    assert text == well_formed("".join(chunk for chunk in chunks if isinstance(chunk, str)))
    assert items[-1] is None


async def test_a_keep_alive_comes_at_once_too(coding):
    async def source(request):
        yield "a"
        await anyio.sleep_forever()

    app = compressed(source, heartbeat=0.01)
    with anyio.fail_after(10):
        async with connect(app, headers={"accept-encoding": coding}) as connection:
            undo, seen = decompressor(coding), b""
            while b": keep-alive\n" not in seen:
                seen += undo(await connection.read())


async def test_the_last_message_ends_the_coding(coding):
    _, messages = await messages_of(compressed(), coding)
    body = b"".join(message["body"] for message in messages)
    if coding == "gzip":
        import gzip

        assert gzip.decompress(body).endswith(b"data: [DONE]\n\n")
    else:
        assert zstd().decompress(body).endswith(b"data: [DONE]\n\n")


async def test_a_dialect_is_a_tenth_of_its_size():
    async def source(request):
        for number in range(300):
            await anyio.lowlevel.checkpoint()
            yield f" word{number % 50}"

    _, messages = await messages_of(compressed(source), "gzip")
    _, plain = await messages_of(compressed(source), None)
    size, before = (sum(len(each["body"]) for each in part) for part in (messages, plain))
    assert size < before / 8


# Negotiation


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        (None, None), ("", None), ("identity", None), ("br", None), ("gzip", "gzip"),
        ("GZip", "gzip"), ("gzip, zstd", "zstd"), ("gzip;q=1, zstd;q=0.5", "gzip"),
        ("gzip;q=0", None), ("zstd;q=0, gzip;q=0.1", "gzip"), ("*", "zstd"), ("*;q=0", None),
        ("zstd;q=0, *", "gzip"), ("gzip;q=x", None), ("gzip ; q=0.8 , br", "gzip"),
    ],
)  # fmt: skip
async def test_the_client_chooses_by_weight_and_the_app_among_equals(accept, chosen):
    headers = [] if accept is None else [(b"Accept-Encoding", accept.encode())]
    assert negotiated(headers, ("zstd", "gzip")) == chosen


async def test_a_client_that_takes_none_gets_the_plain_stream():
    visit, messages = await messages_of(compressed(), "br")
    assert "content-encoding" not in visit.headers
    assert visit.headers["vary"] == "accept-encoding"
    assert messages[-1]["body"].endswith(b"data: [DONE]\n\n")


async def test_head_says_what_get_would_and_has_no_body():
    visit, messages = await messages_of(compressed(compress=("gzip",)), "gzip", method="HEAD")
    assert visit.headers["content-encoding"] == "gzip"
    assert [message["body"] for message in messages] == [b""]


async def test_it_is_off_by_default():
    visit, _ = await messages_of(EventStream(words, framing=ChatCompletions("m")), "gzip, zstd")
    assert {"content-encoding", "vary"}.isdisjoint(visit.headers)


# no-transform


async def test_a_client_that_forbids_it_gets_the_plain_stream():
    app, visit = compressed(), None
    visit = Visit(app)
    visit.scope["headers"] += [(b"accept-encoding", b"gzip"), (b"cache-control", b"no-transform")]
    await visit.run()
    assert "content-encoding" not in visit.headers


@pytest.mark.parametrize("value", ["no-transform", "no-cache, No-Transform"])
async def test_a_header_of_the_users_that_forbids_it_is_refused_at_once(value):
    with pytest.raises(ValueError, match="contradicts no-transform in your header cache-control"):
        compressed(headers={"Cache-Control": value})


async def test_a_response_whose_header_forbids_it_later_is_not_compressed():
    response = EventStreamResponse(words, framing=ChatCompletions("m"), compress=("gzip",))
    response.headers["cache-control"] = "no-cache, no-transform"
    visit, _ = await messages_of(response, "gzip")
    assert "content-encoding" not in visit.headers


# The middleware


def streaming(headers=()):
    async def endpoint(scope, receive, send):
        fields = [(b"content-type", b"text/event-stream"), *headers]
        await send({"type": "http.response.start", "status": 200, "headers": fields})
        for word in (b"one", b"two"):
            body = b"data: %b\n\n" % word
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})

    return endpoint


async def test_the_middleware_compresses_what_passes_and_reads_it_before(coding):
    transcripts = []
    app = EventStreamMiddleware(streaming(), compress=CODINGS, on_complete=transcripts.append)
    visit, messages = await messages_of(app, coding)
    assert visit.headers["content-encoding"] == coding
    read = [body for body in bodies_of(messages, coding) if body]
    assert read == [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]
    assert transcripts[0].text == "onetwo"


@pytest.mark.parametrize(
    "header",
    [
        (b"cache-control", b"no-transform"),
        (b"Cache-Control", b"no-cache, no-transform"),
        (b"content-encoding", b"br"),
    ],
)
async def test_an_endpoint_that_forbids_it_or_has_done_it_is_left_alone(header):
    app = EventStreamMiddleware(streaming([header]), compress=("gzip",))
    visit, messages = await messages_of(app, "gzip")
    assert visit.headers.get("content-encoding") in (None, "br")
    assert b"".join(message["body"] for message in messages).startswith(b"data: one\n\n")


@pytest.mark.parametrize("value", [b"no-cache", b"no-store"])
async def test_an_endpoint_with_another_directive_is_compressed(value):
    app = EventStreamMiddleware(streaming([(b"cache-control", value)]), compress=("gzip",))
    visit, _ = await messages_of(app, "gzip")
    assert visit.headers["content-encoding"] == "gzip"
    assert visit.headers["cache-control"] == f"{value.decode()}, no-transform"


async def test_other_responses_are_left_alone():
    async def plain(scope, receive, send):
        headers = [(b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"plain"})

    visit, _ = await messages_of(EventStreamMiddleware(plain, compress=("gzip",)), "gzip")
    assert visit.headers == {"content-type": "text/plain"}
    assert visit.body == b"plain"


async def test_the_middleware_says_to_head_what_it_says_to_get():
    app = EventStreamMiddleware(streaming(), compress=("gzip",))
    visit, _ = await messages_of(app, "gzip", method="HEAD")
    assert visit.headers["content-encoding"] == "gzip"


# Where it is in vain


async def test_plain_text_stays_as_it_is_and_the_log_says_so_once(caplog, monkeypatch):
    monkeypatch.setattr(module, "_told", set())
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            app = EventStream(words, framing=TextFraming(), compress=("zstd", "gzip"))
    assert [record.getMessage() for record in caplog.records] == [
        "compress is off: TextFraming's events get no smaller by it"
    ]
    visit, _ = await messages_of(app, "gzip, zstd")
    assert {"content-encoding", "vary"}.isdisjoint(visit.headers)


async def test_json_text_is_compressed_by_gzip_alone():
    app = EventStream(words, framing=JSONFraming(), compress=("zstd", "gzip"))
    visit, _ = await messages_of(app, "gzip, zstd")
    assert visit.headers["content-encoding"] == "gzip"


# With others


async def test_a_refusal_is_not_compressed():
    app = compressed(limits=Limits(1))
    async with connect(app, headers=GZIP):
        visit, _ = await messages_of(app, "gzip")
    assert (visit.status, "content-encoding" in visit.headers) == (429, False)


@pytest.mark.parametrize("path", BODIES)
async def test_a_chat_app_compresses_its_streams_and_nothing_else(path):
    async def generate(chat):
        yield "Hello"

    app = ChatApp(generate, compress=("gzip",))
    streamed = Client(app, path, BODIES[path] | {"stream": True}, headers=GZIP)
    await streamed.run()
    assert streamed.answer.headers["content-encoding"] == "gzip"
    assert b"Hello" in decompressor("gzip")(streamed.answer.body)
    if path == CHAT:
        whole = Client(app, path, BODIES[path], headers=GZIP)
        await whole.run()
        assert whole.answer.json["choices"][0]["message"]["content"] == "Hello"


# Options


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        ("gzip", TypeError, "compress must be a tuple such as"),
        (["gzip"], TypeError, "compress must be a tuple such as"),
        (None, TypeError, "compress must be a tuple such as"),
        (("br",), ValueError, "compress may hold zstd and gzip, not 'br'"),
        ((b"gzip",), ValueError, "compress may hold zstd and gzip, not b'gzip'"),
        (("gzip", "gzip"), ValueError, "compress must hold each coding once"),
    ],
)
async def test_wrong_values_raise_at_once(value, error, said):
    makers = (
        lambda: EventStream(["a"], framing=DIALECTS[0], compress=value),
        lambda: EventStreamMiddleware(streaming(), compress=value),
    )
    for make in makers:
        with pytest.raises(error, match=said):
            make()


async def test_zstd_that_is_not_there_is_told_with_a_remedy(monkeypatch):
    def missing(name):
        raise ImportError(name)

    monkeypatch.setattr(module, "import_module", missing)
    with pytest.raises(ImportError, match=r"sse-asgi\[zstd\]"):
        compressed(compress=("zstd",))


KEEPS = """
import os, random, sys
from pathlib import Path
from sse_asgi.compression import _MAKERS

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

def used(number):
    press = make()
    for at in range(100):
        press(b'data: {"id":"x","choices":[{"delta":{"content":"%d"}}]}\\n\\n' % (at * 7919), True)
    press(random.Random(number).randbytes(50_000), True)
    return press

make = _MAKERS[sys.argv[1]]()
warm = [used(number) for number in range(20)]
before = resident()
kept = [used(number) for number in range(200)]
print((resident() - before) / 200 / 1024)
"""


@pytest.mark.parametrize(("kind", "most"), [("gzip", 36), ("zstd", 110)])
def test_a_stream_keeps_as_much_memory_as_is_said(kind, most):
    if kind == "zstd":
        zstd()
    if not Path("/proc/self/statm").exists():
        pytest.skip("needs Linux")
    done = subprocess.run(
        [sys.executable, "-c", KEEPS, kind], capture_output=True, text=True, timeout=120, check=True
    )
    assert float(done.stdout) < most * 1.3
    page = documents.DOCS / "how-to" / "compression.md"
    assert "some 36 KiB for gzip, and some 110 KiB for zstd" in page.read_text()
