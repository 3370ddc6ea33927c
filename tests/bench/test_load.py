"""The load counts right however the bytes are cut; a benchmark that miscounts proves nothing."""

import socket

import pytest

from tests.bench.load import STAMP, LoadError, Reader

RESPONSE = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    b"d\r\ndata: token\n\n\r\n"
    b"11\r\ndata: token 10\r\n\r\n\r\n"  # a peer's CRLF, which looks like an end
    b'10\r\ndata: "123456"\n\n\r\n'
    b"0\r\n\r\n"
)


@pytest.fixture
def wires():
    server, client = socket.socketpair()
    with server, client:
        yield server, client


def read_in_pieces(wires, pieces) -> tuple[Reader, list[bool]]:
    server, client = wires
    reader, buffer, ended = Reader(client), bytearray(1 << 12), []
    for piece in pieces:
        server.sendall(piece)
        reader.read(buffer)
        ended.append(reader.ended)
    return reader, ended


@pytest.mark.parametrize("cut", range(12, len(RESPONSE)))
def test_events_and_the_end_are_seen_wherever_the_bytes_are_cut(wires, cut) -> None:
    reader, ended = read_in_pieces(wires, [RESPONSE[:cut], RESPONSE[cut:]])
    assert reader.events == 3
    assert ended == [False, True]


def test_events_are_counted_once_when_bytes_come_singly(wires) -> None:
    head, rest = RESPONSE[:12], RESPONSE[12:]
    pieces = [head, *(rest[at : at + 1] for at in range(len(rest)))]
    reader, ended = read_in_pieces(wires, pieces)
    assert reader.events == 3
    assert ended == [False] * (len(pieces) - 1) + [True]


def test_a_connection_can_be_used_again(wires) -> None:
    reader, _ = read_in_pieces(wires, [RESPONSE])
    reader.restart()
    assert (reader.events, reader.ended) == (0, False)


def test_an_answer_that_is_no_stream_is_an_error(wires) -> None:
    with pytest.raises(LoadError, match="500"):
        read_in_pieces(wires, [b"HTTP/1.1 500 Internal Server Error\r\n\r\n"])


def test_a_connection_that_ends_early_is_an_error(wires) -> None:
    server, client = wires
    server.close()
    with pytest.raises(LoadError, match="closed"):
        Reader(client).read(bytearray(64))


@pytest.mark.parametrize("event", [b"data: 12345\n\n", b'data: "12345"\n\n', b"data:12345\r\n\r\n"])
def test_the_moment_in_a_chunk_is_found_in_every_peer_s_spelling(event) -> None:
    assert STAMP.findall(event) == [b"12345"]
