"""Commands and replies: with and without hiredis they are the same, cut anywhere."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi.live.redis import replies
from sse_asgi.live.redis.replies import ProtocolError, PythonReader, ReplyError

REPLIES = [
    (b":12\r\n", 12),
    (b":-1\r\n", -1),
    (b"+OK\r\n", b"OK"),
    (b"$5\r\na\r\nbc\r\n", b"a\r\nbc"),
    (b"$0\r\n\r\n", b""),
    (b"$-1\r\n", None),
    (b"*-1\r\n", None),
    (b"*0\r\n", []),
    (b"*3\r\n:1\r\n*1\r\n$1\r\nx\r\n$-1\r\n", [1, [b"x"], None]),
]


def readers():
    yield PythonReader()
    if replies._hiredis is not None:
        yield replies.open_reader()


def read(reader, pieces):
    found = []
    for piece in pieces:
        reader.feed(piece)
        while (reply := reader.gets()) is not False:
            found.append(reply)
    return found


@given(st.lists(st.sampled_from(REPLIES), max_size=8), st.data())
def test_replies_are_read_wherever_they_are_cut(chosen, data):
    sent = b"".join(raw for raw, _ in chosen)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=6)))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    for reader in readers():
        assert read(reader, pieces) == [value for _, value in chosen]


def test_an_error_is_a_reply():
    for reader in readers():
        first, second = read(reader, [b"-NOSCRIPT No matching script\r\n:1\r\n"])
        assert isinstance(first, ReplyError)
        assert str(first) == "NOSCRIPT No matching script"
        assert second == 1


def test_what_is_no_reply_is_refused():
    for reader in readers():
        with pytest.raises(ProtocolError):
            read(reader, [b"HTTP/1.1 400 Bad Request\r\n\r\n"])


def test_without_hiredis_it_is_read_in_python(monkeypatch):
    monkeypatch.setattr(replies, "_hiredis", None)
    assert isinstance(replies.open_reader(), PythonReader)


def test_commands_are_packed_alike_with_and_without_hiredis(monkeypatch):
    command = ("EVALSHA", b"\x00\r\n", 12, "é", "")
    packed = replies.pack(command)
    monkeypatch.setattr(replies, "_hiredis", None)
    assert replies.pack(command) == packed
    assert read(PythonReader(), [packed]) == [
        [b"EVALSHA", b"\x00\r\n", b"12", "é".encode(), b""],
    ]
