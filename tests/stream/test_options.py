"""Every wrong argument raises at once, and the message names the argument and its value."""

import dataclasses
import inspect
import math
import re

import pytest

from sse_asgi import EventStream, TextFraming
from sse_asgi import EventStreamMiddleware as Middleware
from sse_asgi.headers import DEFAULT_HEADERS, make_headers
from sse_asgi.stream.options import Options

NAN = math.nan


class Half:
    """A framing that cannot decode."""

    def encoder(self):
        return str.encode

    def end(self):
        return b""


WRONG = [
    ("framing", None, TypeError), ("framing", "text", TypeError),
    ("framing", TextFraming, TypeError), ("framing", Half(), TypeError),
    ("on_chunk", "print", TypeError), ("on_chunk", 7, TypeError),
    ("on_complete", "save", TypeError), ("on_complete", [], TypeError),
    ("describe_error", "why", TypeError), ("describe_error", True, TypeError),
    ("status", "200", TypeError), ("status", 200.0, TypeError), ("status", True, TypeError),
    ("status", None, TypeError),
    ("status", 0, ValueError), ("status", 199, ValueError), ("status", 600, ValueError),
    ("status", 204, ValueError), ("status", 205, ValueError), ("status", 304, ValueError),
    ("heartbeat", "15", TypeError), ("heartbeat", True, TypeError), ("heartbeat", 1j, TypeError),
    ("heartbeat", 0, ValueError), ("heartbeat", -1.5, ValueError), ("heartbeat", NAN, ValueError),
    ("send_timeout", "30", TypeError), ("send_timeout", False, TypeError),
    ("send_timeout", 0, ValueError), ("send_timeout", -30, ValueError),
    ("send_timeout", NAN, ValueError),
    ("coalesce", 0, ValueError), ("coalesce", -0.03, ValueError), ("coalesce", NAN, ValueError),
    ("coalesce", math.inf, ValueError), ("coalesce", "0.03", TypeError),
    ("coalesce", True, TypeError),
    ("cleanup_timeout", None, TypeError), ("cleanup_timeout", "5", TypeError),
    ("cleanup_timeout", True, TypeError), ("cleanup_timeout", 0, ValueError),
    ("cleanup_timeout", -5, ValueError), ("cleanup_timeout", NAN, ValueError),
    ("prefetch", 0, ValueError), ("prefetch", -1.5, ValueError), ("prefetch", "no", TypeError),
    ("prefetch", None, TypeError),
    ("record", 0, TypeError), ("record", "yes", TypeError), ("record", None, TypeError),
    ("max_body_size", "1", TypeError), ("max_body_size", 1.5, TypeError),
    ("max_body_size", True, TypeError), ("max_body_size", None, TypeError),
    ("max_body_size", -1, ValueError),
    ("shutdown", "no", TypeError), ("shutdown", False, TypeError), ("shutdown", 5.0, TypeError),
    ("headers", 7, TypeError), ("headers", 0, TypeError), ("headers", False, TypeError),
    ("headers", "a: b", TypeError), ("headers", "", TypeError), ("headers", b"", TypeError),
    ("headers", ["a"], TypeError), ("headers", [("a",)], TypeError),
    ("headers", [("a", "b", "c")], TypeError), ("headers", ["ab"], TypeError),
    ("headers", {"a": 1}, TypeError), ("headers", {"a": None}, TypeError),
    ("headers", {b"a": b"b"}, TypeError), ("headers", {1: "b"}, TypeError),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_a_wrong_argument_raises_at_construction_and_is_named(name, value, error):
    with pytest.raises(error) as caught:
        EventStream(["a"], **{name: value})
    message = str(caught.value)
    assert name in message
    if name != "headers":
        assert repr(value) in message


def test_wrong_headers_are_told_what_they_have_and_never_their_values():
    with pytest.raises(TypeError, match=r"headers must map str to str, .*; found str$") as caught:
        EventStream(["a"], headers=["secret"])
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("heartbeat", None), ("heartbeat", 1), ("heartbeat", 0.001), ("heartbeat", math.inf),
        ("send_timeout", None), ("send_timeout", math.inf), ("cleanup_timeout", math.inf),
        ("max_body_size", 0), ("status", 201), ("status", 599), ("shutdown", None),
        ("coalesce", None), ("coalesce", 1), ("coalesce", 0.001),
        ("headers", None), ("headers", {}), ("headers", []), ("headers", ()),
    ],
)  # fmt: skip
def test_an_edge_that_works_is_taken(name, value):
    EventStream(["a"], **{name: value})


def test_options_are_keyword_only_and_documented():
    parameters = inspect.signature(EventStream).parameters
    assert [p.name for p in parameters.values() if p.kind is not p.KEYWORD_ONLY] == ["source"]
    for name in parameters:
        assert f"\n    {name}: " in inspect.getdoc(EventStream)


AROUND = ("limits", "compress", "telemetry")
"""What stands around a stream, which knows nothing of it."""


def test_defaults_of_the_app_and_of_the_options_agree():
    defaults = {field.name: field.default for field in dataclasses.fields(Options)}
    for name, parameter in inspect.signature(EventStream).parameters.items():
        if name not in ("source", "framing", "headers", "context", *AROUND):
            assert parameter.default == defaults[name], name


# What the two cannot say in the same words: a stream of ours has a source, the other an app.
WORDED_APART = {"framing", "on_chunk", "on_complete", "cleanup_timeout"}


def documented(kind):
    """Return what a class says of each of its arguments."""
    section = inspect.getdoc(kind).partition("Args:\n")[2].partition("\n\nRaises:")[0]
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {name: " ".join(text.split()) for name, text in entries}


def test_the_app_and_the_middleware_take_the_same_options_in_the_same_way():
    app, middleware = (inspect.signature(kind).parameters for kind in (EventStream, Middleware))
    shared = [name for name in middleware if name != "app"]
    assert [name for name in app if name in middleware] == shared
    assert [app[name] for name in shared] == [middleware[name] for name in shared]


def test_the_app_and_the_middleware_document_the_same_options_in_the_same_words():
    app, middleware = documented(EventStream), documented(Middleware)
    assert [*app] == [*inspect.signature(EventStream).parameters]
    assert [*middleware] == [*inspect.signature(Middleware).parameters]
    assert {name for name in app.keys() & middleware if app[name] != middleware[name]} == (
        WORDED_APART
    )


def test_default_headers():
    assert dict(make_headers(None)) == {
        b"content-type": b"text/event-stream; charset=utf-8",
        b"cache-control": b"no-store, no-transform",
        b"x-accel-buffering": b"no",
    }


@pytest.mark.parametrize("name", ["cache-control", "Cache-Control", "CACHE-CONTROL"])
def test_a_users_header_replaces_the_default_of_its_name(name):
    fields = make_headers({name: "no-cache", "X-Other": "1"})
    assert [value for key, value in fields if key == b"cache-control"] == [b"no-cache"]
    assert (b"x-other", b"1") in fields
    assert len(fields) == len(DEFAULT_HEADERS) + 1


def test_a_name_may_come_twice():
    fields = make_headers([("set-cookie", "a=1"), ("set-cookie", "b=2")])
    assert [value for key, value in fields if key == b"set-cookie"] == [b"a=1", b"b=2"]


def test_pairs_may_come_from_an_iterator():
    assert (b"a", b"1") in make_headers(pair for pair in [("a", "1")])


def test_the_users_mapping_is_not_changed():
    headers = {"Connection": "close", "A": " b "}
    make_headers(headers)
    assert headers == {"Connection": "close", "A": " b "}


@pytest.mark.parametrize("name", ["connection", "Connection"])
def test_connection_is_left_out_with_a_warning(name, caplog):
    assert make_headers({name: "keep-alive"}) == DEFAULT_HEADERS
    assert "connection" in caplog.text


@pytest.mark.parametrize("name", ["content-length", "Content-Length", "Transfer-Encoding"])
def test_a_header_that_is_the_servers_is_refused(name):
    with pytest.raises(ValueError, match=name):
        make_headers({name: "1"})


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a:", "a\r\nb", "a\n", "a\0", "é", "\u0130", "(a)"]
)
def test_a_name_that_http_does_not_allow_is_refused(name):
    with pytest.raises(ValueError, match="headers") as caught:
        make_headers({name: "1"})
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    "value", ["a\rb", "a\nb", "a\r\nset-cookie: b", "a\0b", "\n", "\x01", "a\x0bb", "\x7f"]
)
def test_a_value_with_control_characters_is_refused(value):
    with pytest.raises(ValueError, match="x-name") as caught:
        make_headers({"x-name": value})
    assert "has the control character '\\" in str(caught.value)


@pytest.mark.parametrize("value", ["\u20ac", "\U0001f642", "\ud800"])
def test_a_value_that_is_not_latin_1_is_refused(value):
    with pytest.raises(ValueError, match=r"x-name.*Latin-1"):
        make_headers({"x-name": value})


@pytest.mark.parametrize(("value", "wire"), [("", b""), ("é", b"\xe9"), (" a\tb ", b"a\tb")])
def test_a_value_that_http_allows_is_taken(value, wire):
    assert (b"x-name", wire) in make_headers({"x-name": value})
