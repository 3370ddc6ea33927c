"""One table of event streams and what a client makes of them, rule by rule of the HTML standard.

Whoever reads event streams is tested against it: https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from dataclasses import dataclass

from sse_asgi import MessageEvent


@dataclass(frozen=True)
class Case:
    name: str
    stream: bytes
    events: tuple[MessageEvent, ...] = ()
    last_event_id: str = ""
    reconnection_time: int | None = None


def dispatches(name: str, stream: bytes, *data: str) -> Case:
    """A case whose events are all of type "message", without an id."""
    return Case(name, stream, tuple(MessageEvent(text) for text in data))


def reconnects_after(name: str, stream: bytes, milliseconds: int | None) -> Case:
    return Case(name, stream, reconnection_time=milliseconds)


BOM = b"\xef\xbb\xbf"

LINES = [
    dispatches("an empty stream", b""),
    dispatches("blank lines alone", b"\n\r\n\r\n\n"),
    dispatches("LF line ends", b"data: a\n\ndata: b\n\n", "a", "b"),
    dispatches("CRLF line ends", b"data: a\r\n\r\ndata: b\r\n\r\n", "a", "b"),
    dispatches("CR line ends", b"data: a\r\rdata: b\r\r", "a", "b"),
    dispatches("mixed line ends", b"data: a\rdata: b\ndata: c\r\n\ndata: d\n\r\n", "a\nb\nc", "d"),
    dispatches("LF then CR are two line ends", b"data: a\n\rdata: b\n\n", "a", "b"),
    dispatches("CR CR LF are two line ends", b"data: a\r\r\ndata: b\n\n", "a", "b"),
    dispatches("CR CR at the end", b"data: a\r\r", "a"),
    dispatches("CR LF CR at the end", b"data: a\r\n\r", "a"),
    dispatches("many blank lines between events", b"data: a\n\n\n\n\ndata: b\n\n\n", "a", "b"),
    dispatches("a blank line first", b"\ndata: a\n\n", "a"),
    dispatches("no final blank line", b"data: a\n\ndata: b\n", "a"),
    dispatches("no final line end", b"data: a\n\ndata: b", "a"),
    dispatches(
        "only CR and LF end a line",
        "data: a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei\n\n".encode(),
        "a\u2028b\u2029c\x85d\x0be\x0cf\x1cg\x1dh\x1ei",
    ),
]

ENCODING = [
    dispatches("a byte order mark", BOM + b"data: a\n\n", "a"),
    dispatches("two byte order marks", BOM + BOM + b"data: a\n\ndata: b\n\n", "b"),
    dispatches("a byte order mark later", b"data: a\n\n" + BOM + b"data: b\n\n", "a"),
    dispatches("a byte order mark in data", b"data: " + BOM + b"a\n\n", "\ufeffa"),
    dispatches("a byte order mark before a blank line", BOM + b"\ndata: a\n\n", "a"),
    dispatches("a byte order mark alone", BOM),
    dispatches("a cut byte order mark", BOM[:2]),
    dispatches("the start of a byte order mark", BOM[:2] + b"data: a\n\ndata: b\n\n", "b"),
    dispatches("UTF-8 of every length", "data: aé€\U0001f600\n\n".encode(), "aé€\U0001f600"),
    dispatches("invalid bytes", b"data: \xff\xfea\n\n", "\ufffd\ufffda"),
    dispatches("a cut sequence before a line end", b"data: \xf0\x9f\x98\ndata: b\n\n", "\ufffd\nb"),
    dispatches("a cut sequence before a CR", b"data: \xe2\x82\r\r", "\ufffd"),
    dispatches("an overlong sequence", b"data: \xc0\xaf\n\n", "\ufffd\ufffd"),
    dispatches("an encoded surrogate", b"data: \xed\xa0\x80\n\n", "\ufffd\ufffd\ufffd"),
    dispatches("NUL in data", b"data: a\0b\n\n", "a\0b"),
]

FIELDS = [
    dispatches("one space after the colon is dropped", b"data:  a \n\n", " a "),
    dispatches("no space after the colon", b"data:a\n\n", "a"),
    dispatches("a tab is no space", b"data:\ta\n\n", "\ta"),
    dispatches("colons in the value", b"data: a: b:c\n\n", "a: b:c"),
    dispatches("data without a colon is empty data", b"data\n\n", ""),
    dispatches("data with an empty value", b"data:\n\n", ""),
    dispatches("data with one space", b"data: \n\n", ""),
    dispatches("two empty lines of data", b"data\ndata\n\n", "\n"),
    dispatches("data may end with newlines", b"data: a\ndata:\ndata:\n\n", "a\n\n"),
    dispatches("data may begin with newlines", b"data:\ndata: a\n\n", "\na"),
    dispatches("many lines of data", b"data: a\ndata:b\ndata\ndata:  c\n\n", "a\nb\n\n c"),
    dispatches("no data, no event", b"event: a\n\nretry: x\n\n: c\n\nfoo: bar\n\n"),
    dispatches("names are case-sensitive", b"Data: a\nDATA: b\ndata: c\n\n", "c"),
    dispatches("names are not stripped", b" data: a\ndata : b\n\tdata: c\n\n"),
    dispatches("unknown fields are ignored", b"foo: a\ndata: b\ndatas: c\ndat: d\nbar\n\n", "b"),
    dispatches("a NUL in a name", b"da\0ta: a\ndata: b\n\n", "b"),
    dispatches("a comment", b": a\n:\n::\n:data: b\ndata: c\n: d\n\n", "c"),
    dispatches("a comment inside an event", b"data: a\n: x\ndata: b\n\n", "a\nb"),
    dispatches("a comment with a cut sequence", b": \xf0\x9f\ndata: a\n\n", "a"),
    dispatches("keep-alives between events", b"data: a\n\n: k\n: k\ndata: b\n\n: k\n", "a", "b"),
    dispatches(
        "blocks in data's clothing", b"data: a\n\ndata: b\ndata: c\n\ndatab\n\n", "a", "b\nc"
    ),
    dispatches(
        "a burst with a longer event in it",
        b"data: a\n\n" * 20 + b"data: b\ndata: c\n\n" + b"data: d\n\n" * 20,
        *("a",) * 20,
        "b\nc",
        *("d",) * 20,
    ),
    dispatches("a burst", b"data: a\n\n" * 40, *("a",) * 40),
]

TYPES = [
    Case("an event type", b"event: add\ndata: a\n\n", (MessageEvent("a", "add"),)),
    Case("the type after the data", b"data: a\nevent: add\n\n", (MessageEvent("a", "add"),)),
    Case("the last type counts", b"event: a\nevent: b\ndata: c\n\n", (MessageEvent("c", "b"),)),
    Case("an empty type is message", b"event: a\nevent:\ndata: c\n\n", (MessageEvent("c"),)),
    Case("a type's own spaces", b"event:  a \ndata: c\n\n", (MessageEvent("c", " a "),)),
    Case(
        "a type is forgotten after its event",
        b"event: add\ndata: a\n\ndata: b\n\n",
        (MessageEvent("a", "add"), MessageEvent("b")),
    ),
    Case(
        "a type is forgotten after a block without data",
        b"event: add\n\ndata: b\n\n",
        (MessageEvent("b"),),
    ),
]

IDS = [
    Case("an id", b"id: 1\ndata: a\n\n", (MessageEvent("a", last_event_id="1"),), "1"),
    Case("an id after the data", b"data: a\nid: 1\n\n", (
        MessageEvent("a", last_event_id="1"),
    ), "1"),
    Case("the last id counts", b"id: 1\nid: 2\ndata\n\n", (
        MessageEvent("", last_event_id="2"),
    ), "2"),
    Case("an id's own spaces", b"id:  1 \n\n", (), " 1 "),
    Case("an id beyond ASCII", "id: \u00e9\U0001f600\n\n".encode(), (), "\u00e9\U0001f600"),
    Case("an id stays", b"id: 1\ndata: a\n\ndata: b\n\n", (
        MessageEvent("a", last_event_id="1"),
        MessageEvent("b", last_event_id="1"),
    ), "1"),
    Case("an id changes", b"id: 1\ndata: a\n\nid: 2\ndata: b\n\n", (
        MessageEvent("a", last_event_id="1"),
        MessageEvent("b", last_event_id="2"),
    ), "2"),
    Case("an id in a burst", b"id: 1\ndata: a\n\n" + b"data: b\n\n" * 20 + b"id: 2\ndata: c\n\n", (
        MessageEvent("a", last_event_id="1"),
        *(MessageEvent("b", last_event_id="1"),) * 20,
        MessageEvent("c", last_event_id="2"),
    ), "2"),
    Case("an empty id resets", b"id: 1\n\nid\ndata: a\n\n", (MessageEvent("a"),), ""),
    Case("an id alone dispatches nothing and counts", b"id: 1\n\n", (), "1"),
    Case("an id alone counts for later events", b"id: 1\n\ndata: a\n\n", (
        MessageEvent("a", last_event_id="1"),
    ), "1"),
    Case("an id with NUL is ignored", b"id: 1\n\nid: 2\0\ndata: a\n\n", (
        MessageEvent("a", last_event_id="1"),
    ), "1"),
    Case("an unfinished event's id does not count", b"id: 1\n\nid: 2\ndata: a\n", (), "1"),
    Case("an unfinished id does not count", b"id: 1\n\nid: 2", (), "1"),
]  # fmt: skip

RETRIES = [
    reconnects_after("a reconnection time", b"retry: 1000\n\n", 1000),
    reconnects_after("a reconnection time counts at once", b"retry: 1000\n", 1000),
    reconnects_after("an unfinished reconnection time", b"retry: 1000\n\nretry: 2000", 1000),
    reconnects_after("no reconnection time at all", b"retry: 0\n", 0),
    reconnects_after("leading zeros", b"retry: 007\n", 7),
    reconnects_after("the last reconnection time counts", b"retry: 1\nretry: 2\n", 2),
    reconnects_after("the largest reconnection time", b"retry: 9223372036854775807\n", 2**63 - 1),
    reconnects_after("a larger one", b"retry: 9223372036854775808\n", 2**63 - 1),
    reconnects_after("thousands of digits", b"retry: " + b"9" * 9999 + b"\n", 2**63 - 1),
    reconnects_after("thousands of zeros", b"retry: " + b"0" * 9999 + b"5\n", 5),
    *(
        reconnects_after(f"{value!r} is no reconnection time", b"retry: 7\nretry:%b\n" % value, 7)
        for value in (
            *(b"", b" ", b"  5", b" 5 ", b" +5", b" -5", b" 1_000", b" 1.5", b" 5ms", b" 0x1"),
            *(b" 5\0", b" 5\xff", *map(str.encode, ("\u0663\u0664", "\uff15\uff10", "5\u00b2"))),
        )
    ),
]  # fmt: skip

CASES = [*LINES, *ENCODING, *FIELDS, *TYPES, *IDS, *RETRIES]
