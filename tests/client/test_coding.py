"""Content codings, cut anywhere."""

import gzip
import zlib

import pytest

from sse_asgi.client.coding import LARGEST_PIECE, make_decoder

TEXT = b"data: Hello\n\n" * 50
GZIPPED = gzip.compress(TEXT, mtime=0)  # the same in each worker of pytest-xdist


def raw(data):
    compress = zlib.compressobj(wbits=-15)
    return compress.compress(data) + compress.flush()


@pytest.mark.parametrize("size", [1, 7, 10**6])
@pytest.mark.parametrize(
    ("coding", "data"),
    [
        *(
            ("", TEXT),
            ("identity", TEXT),
            ("gzip", GZIPPED),
            ("GZIP", GZIPPED),
        ),
        *(
            ("x-gzip", GZIPPED),
            ("deflate", zlib.compress(TEXT)),
            ("deflate", raw(TEXT)),
        ),
        ("gzip", gzip.compress(TEXT[:100], mtime=0) + gzip.compress(TEXT[100:], mtime=0)),
    ],
)
def test_what_was_coded_comes_back(coding, data, size):
    decode = make_decoder(coding)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    assert b"".join(piece for part in pieces for piece in decode(part)) == TEXT


def test_what_is_flushed_comes_at_once():
    compress = zlib.compressobj(wbits=31)
    decode = make_decoder("gzip")
    for _ in range(3):
        data = compress.compress(b"data: a\n\n") + compress.flush(zlib.Z_SYNC_FLUSH)
        assert b"".join(decode(data)) == b"data: a\n\n"


def test_a_bomb_comes_in_bounded_pieces():
    data = gzip.compress(bytes(50 * LARGEST_PIECE))
    sizes = [len(piece) for piece in make_decoder("gzip")(data)]
    assert sum(sizes) == 50 * LARGEST_PIECE
    assert max(sizes) <= LARGEST_PIECE


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_broken_data_is_a_broken_connection(coding):
    with pytest.raises(ConnectionError, match="broken"):
        list(make_decoder(coding)(b"this is none of it"))


@pytest.mark.parametrize("coding", ["br", "zstd", "compress", "gzip, br"])
def test_other_codings_are_unknown(coding):
    assert make_decoder(coding) is None
