"""Bodies: content codings, cut anywhere and of any size, and other tasks that go on meanwhile."""

import gzip
import zlib

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import MessageEvent, StreamLostError, StreamRefusedError
from sse_asgi.client import EventSource
from sse_asgi.client.connection import _PIECE as PIECE
from sse_asgi.client.connection import BlockingConnection
from sse_asgi.client.sync import _pieces
from tests.client.scripted import PATIENCE

pytestmark = pytest.mark.anyio

URL = "http://localhost/"
TEXT = b"data: Hello\n\n" * 50
GZIPPED = gzip.compress(TEXT, mtime=0)  # the same in each worker of pytest-xdist
MIB = 1_048_576


@pytest.fixture
def source_of(library):
    """Make a source whose connections give these chunks, one body each."""

    def make(*bodies, headers=(), **options):
        left = list(bodies)

        class Body(library.AsyncByteStream):
            def __init__(self, chunks):
                self.chunks = chunks

            async def __aiter__(self):
                for chunk in self.chunks:
                    yield chunk

        def answer(request):
            fields = {"content-type": "text/event-stream", **dict(headers)}
            return library.Response(200, headers=fields, stream=Body(left.pop(0)))

        client = library.AsyncClient(transport=library.MockTransport(answer))
        return EventSource(URL, client=client, **{"reconnect": False, **options})

    return make


async def read(source):
    with anyio.fail_after(PATIENCE):
        return [event async for event in source]


def cut(data, size):
    return [data[start : start + size] for start in range(0, len(data), size)]


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("coding", "data"),
    [
        *(("identity", TEXT), ("", TEXT), ("gzip", GZIPPED), (" GZIP ", GZIPPED)),
        ("deflate", zlib.compress(TEXT)),
    ],
)
async def test_what_was_coded_comes_back(source_of, coding, data, size):
    source = source_of(cut(data, size), headers={"content-encoding": coding})
    assert await read(source) == [MessageEvent("Hello")] * 50


async def test_a_body_that_is_there_is_decoded_already(library):
    fields = {"content-type": "text/event-stream", "content-encoding": "gzip"}
    transport = library.MockTransport(
        lambda _: library.Response(200, headers=fields, content=GZIPPED)
    )
    source = EventSource(URL, client=library.AsyncClient(transport=transport), reconnect=False)
    assert await read(source) == [MessageEvent("Hello")] * 50


@pytest.mark.parametrize("how", ["the end", "restart", "aclose"])
async def test_a_response_is_closed_when_it_is_done_with(library, how):
    class Body(library.AsyncByteStream):
        closed = False

        async def __aiter__(self):
            yield b"data: a\n\n"
            if how != "the end":
                await anyio.sleep_forever()

        async def aclose(self):
            self.closed = True

    bodies = []

    def answer(request):
        bodies.append(Body())
        return library.Response(
            200, headers={"content-type": "text/event-stream"}, stream=bodies[-1]
        )

    client = library.AsyncClient(transport=library.MockTransport(answer))
    source = EventSource(URL, client=client, reconnection_time=60_000)
    assert await anext(source) == MessageEvent("a")
    if how == "the end":
        with anyio.move_on_after(0.05):
            await anext(source)
    else:
        await getattr(source, how)()
    assert bodies[0].closed
    await source.aclose()


@pytest.mark.parametrize("length", [*range(PIECE - 20, PIECE + 20), 5 * PIECE, 5 * PIECE + 1])
async def test_what_is_flushed_comes_at_once(source_of, length):
    compress = zlib.compressobj(wbits=31)
    event = b"data: %b\n\n" % (b"x" * (length - 8))
    seen = []

    def chunks():
        for number in range(3):
            assert len(seen) == number  # the event before has been given
            yield compress.compress(event) + compress.flush(zlib.Z_SYNC_FLUSH)

    async for each in source_of(chunks(), headers={"content-encoding": "gzip"}):
        seen.append(len(each.data))
    assert seen == [length - 8] * 3


async def test_what_is_expanded_is_bounded(source_of, monkeypatch):
    sizes = []
    monkeypatch.setattr(
        "sse_asgi.client.source.ItemDecoder.decode", lambda _, data: sizes.append(len(data)) or []
    )
    for coding, data in [("gzip", gzip.compress(bytes(MIB), mtime=0)), ("", bytes(MIB))]:
        assert await read(source_of([data], headers={"content-encoding": coding})) == []
    assert sum(sizes) == 2 * MIB
    assert max(sizes) <= PIECE


@pytest.mark.parametrize(
    "filling",
    [b"\n", b"data: x\n\n" + b"\n" * 60_000, b"data: x\n\n"],
    ids=["blank", "mostly blank", "events"],
)
@pytest.mark.matrix("anyio_backend")
async def test_other_tasks_run_while_a_bomb_expands(source_of, filling):
    size = 4 * MIB
    body = filling * (size // len(filling)) + b"\n\ndata: end\n\n"
    rounds, last = 0, None

    async def count():
        nonlocal rounds
        while True:
            rounds += 1
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(count)
        bomb = gzip.compress(body, mtime=0)
        async for event in source_of([bomb], headers={"content-encoding": "gzip"}):
            last = event
        tasks.cancel_scope.cancel()
    assert last == MessageEvent("end")
    assert rounds >= size // PIECE // 2


@given(chunks=st.lists(st.binary(max_size=3 * PIECE)))
def test_any_chunks_come_back_in_bounded_pieces(chunks):
    pieces = [*_pieces(BlockingConnection(chunks))]
    assert b"".join(pieces) == b"".join(chunks)
    assert all(len(piece) <= PIECE for piece in pieces)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_broken_data_is_a_lost_connection(source_of, coding):
    source = source_of([b"this is none of it"], headers={"content-encoding": coding})
    with pytest.raises(StreamLostError, match=r"broke off: .*decompress"):
        await read(source)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip"])
async def test_other_codings_are_refused(source_of, coding):
    source = source_of([b"data: a\n\n"], headers={"content-encoding": coding})
    with pytest.raises(StreamRefusedError, match=f"coding is {coding}; .* heed Accept-Encoding"):
        await read(source)
