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
from sse_asgi.client.connections import PIECE, make_decode
from tests.client.scripted import PATIENCE

pytestmark = pytest.mark.anyio

URL = "http://localhost/"
TEXT = b"data: Hello\n\n" * 50
GZIPPED = gzip.compress(TEXT, mtime=0)  # the same in each worker of pytest-xdist
MIB = 1_048_576
CODERS = {"gzip": gzip.compress, "deflate": zlib.compress, "": bytes, "identity": bytes}


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
        ("gzip", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
    ],
)
async def test_what_was_coded_comes_back(source_of, coding, data, size):
    source = source_of(cut(data, size), headers={"content-encoding": coding})
    assert await read(source) == [MessageEvent("Hello")] * 50


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
    monkeypatch.setattr("sse_asgi.client.inbox.Inbox.feed", lambda _, data: sizes.append(len(data)))
    for coding, data in [("gzip", gzip.compress(bytes(MIB), mtime=0)), ("", bytes(MIB))]:
        assert await read(source_of([data], headers={"content-encoding": coding})) == []
    assert sum(sizes) == 2 * MIB
    assert max(sizes) <= PIECE


@pytest.mark.parametrize(
    "filling",
    [b"\n", b"data: x\n\n" + b"\n" * 60_000, b"data: x\n\n"],
    ids=["blank", "mostly blank", "events"],
)
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


@given(data=st.data(), body=st.binary(max_size=3 * PIECE), repeat=st.integers(1, 8))
def test_any_body_cut_anywhere_comes_back(data, body, repeat):
    body *= repeat
    coding, code = data.draw(st.sampled_from([*CODERS.items()]), "coding")
    decode, coded = make_decode(coding), code(body)
    size = data.draw(st.integers(1, max(len(coded), 1)), "size")
    pieces = [piece for chunk in cut(coded, size) for piece in decode(chunk)]
    assert b"".join(pieces) == body
    assert all(0 < len(piece) <= PIECE for piece in pieces)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_broken_data_is_a_lost_connection(source_of, coding):
    source = source_of([b"this is none of it"], headers={"content-encoding": coding})
    with pytest.raises(StreamLostError, match="content coding is broken"):
        await read(source)


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br", "gzip, gzip"])
async def test_other_codings_are_refused(source_of, coding):
    source = source_of([b"data: a\n\n"], headers={"content-encoding": coding})
    with pytest.raises(StreamRefusedError, match=f"coding is {coding}; .* heed Accept-Encoding"):
        await read(source)
