"""What a response means, how long to wait after it, and what messages show."""

import math
import random
import socket
import ssl
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sse_asgi import StreamLostError, StreamRefusedError
from sse_asgi.client import EventSource, iter_events
from sse_asgi.client.response import (
    End,
    end_of,
    lost,
    media_type,
    next_wait,
    reason,
    shown_url,
)
from tests.client.conftest import import_library
from tests.client.scripted import redirect, status, stream
from tests.servers import free_port

# Waits


@pytest.fixture
def chance(monkeypatch):
    """Set the random part of each wait."""
    return lambda value: monkeypatch.setattr(random, "random", lambda: value)


def waits(reconnection_time, number, *, asked=0.0, max_wait=300.0):
    return [next_wait(reconnection_time, ends, asked, max_wait) for ends in range(number)]


def test_the_waits_double_up_to_a_limit(chance):
    chance(0.0)
    assert waits(3000, 6) == [3, 6, 12, 24, 30, 30]
    assert waits(1000, 2000)[-1] == 30


def test_a_longer_reconnection_time_than_the_limit_counts(chance):
    chance(0.0)
    assert waits(100_000, 3) == [100, 100, 100]


@pytest.mark.parametrize("time", [0, 1, 99, 100])
def test_no_wait_is_shorter_than_a_tenth_of_a_second(chance, time):
    chance(0.0)
    assert waits(time, 4) == [0.1, 0.2, 0.4, 0.8]


def test_every_wait_has_a_random_part_from_the_first_on(chance):
    chance(1.0)
    assert waits(3000, 5) == [4.5, 9, 18, 36, 45]
    assert waits(0, 1) == [pytest.approx(0.15)]
    assert waits(0, 1, asked=60.0, max_wait=2.0) == [3.0]


@pytest.mark.parametrize("asked", [2**31, 2**63 - 1])
def test_neither_retry_nor_retry_after_may_ask_for_more_than_max_wait(chance, asked):
    chance(0.0)
    assert waits(asked, 2) == [300, 300]
    assert waits(asked, 1, max_wait=7.5) == [7.5]
    assert waits(1000, 1, asked=float(asked)) == [300]
    assert waits(1000, 1, max_wait=0.01) == [0.1]


@given(
    time=st.integers(0, 2**63 - 1),
    asked=st.floats(0, 1e12),
    max_wait=st.floats(0.001, 1e6),
    ends=st.integers(0, 3000),
)
def test_every_wait_is_within_its_limits(time, asked, max_wait, ends):
    least = max(0.1, min(max_wait, max(time / 1000, asked)))
    most = max(0.1, min(max_wait, max(time / 1000, asked, 30)))
    assert least <= next_wait(time, ends, asked, max_wait) <= 1.5 * most


def test_the_server_may_ask_for_more(chance):
    chance(0.0)
    assert waits(1000, 1, asked=7.5) == [7.5]
    assert waits(1000, 1, asked=0.5) == [1.0]


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"reconnection_time": "3"}, TypeError, "must be an int"),
        ({"reconnection_time": True}, TypeError, "must be an int"),
        ({"reconnection_time": -1}, ValueError, "0 or more"),
        ({"reconnect": 1}, TypeError, "True or False"),
        ({"max_wait": None}, TypeError, "max_wait must be a number"),
        ({"max_wait": True}, TypeError, "max_wait must be a number"),
        ({"max_wait": 0}, ValueError, "max_wait must be a number above 0"),
        ({"max_wait": math.nan}, ValueError, "above 0"),
    ],
)
def test_waits_that_cannot_be(options, error, words):
    with pytest.raises(error, match=words):
        EventSource("http://localhost/", **options)


# Retry-After


def asked_by(library, **headers):
    return end_of(library.Response(503, headers=headers), b"").wait


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("120", 120), (" 7 ", 7), ("0", 0), ("-1", 0), ("1.5", 0), ("soon", 0)),
        ("Sun, 22 Nov 2015 11:00:00 GMT", 0),
        ("Wed, 21 Oct 2015 07:28:00 +99999999999999999", 0),
        ("Wed, 21 Oct 2015 07:28:00 -99999999999", 0),
        ("9" * 400, 999_999_999_999),
    ],
)
def test_retry_after(each_library, value, seconds):
    assert asked_by(each_library, **{"retry-after": value}) == seconds


@pytest.mark.parametrize("zone", [" GMT", " -0000", ""])
def test_retry_after_as_a_date(each_library, zone):
    date = format_datetime(datetime.now(UTC) + timedelta(days=2), usegmt=True)
    seconds = asked_by(each_library, **{"retry-after": date.replace(" GMT", zone)})
    assert seconds == pytest.approx(2 * 86_400, abs=100)


def test_without_retry_after_nothing_is_asked_for(each_library):
    assert asked_by(each_library) is None
    assert asked_by(each_library, **{"retry-after": ""}) is None


# What a response means


@pytest.mark.parametrize("number", [200, 301, 400, 404, 501, 505])
def test_a_refusal_is_final(each_library, number):
    end = end_of(each_library.Response(number), b"no")
    assert end.final
    assert (end.error.status, end.error.body) == (number, "no")


@pytest.mark.parametrize("number", [408, 425, 429, 500, 502, 503, 504])
def test_some_statuses_are_temporary(each_library, number):
    end = end_of(each_library.Response(number), b"\xff" * 3000)
    assert not end.final
    assert end.error.body == "\ufffd" * 2000


def test_204_is_an_end_without_an_error(each_library):
    assert end_of(each_library.Response(204), b"") == End(final=True)


def test_several_content_types(each_library):
    fields = [("content-type", "text/html"), ("content-type", "text/event-stream;x")]
    assert media_type(each_library.Response(200, headers=fields)) == "text/event-stream"


# Errors


def test_what_the_network_does_is_told_as_a_lost_connection(each_library):
    for name in ("ConnectError", "ReadTimeout", "RemoteProtocolError", "DecodingError"):
        cause = getattr(each_library, name)("x")
        error = lost("it broke", cause, "http://me:secret@a.example/b?c")
        assert str(error) == "http://a.example/b: it broke: x"
        assert error.__cause__ is cause
    assert str(lost("it broke", ConnectionResetError("reset"))) == "it broke: reset"


def test_what_is_not_the_network_s_is_raised(each_library):
    with pytest.raises(RuntimeError, match="closed"):
        lost("it broke", RuntimeError("closed"))
    with pytest.raises(ValueError, match="a cannot be requested: x"):
        lost("it broke", each_library.InvalidURL("x"), "a")


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (RuntimeError("x"), "x"),
        (RuntimeError(), "RuntimeError"),
        (caused(RuntimeError("x"), ConnectionRefusedError(111, "asyncio's")), "Connection refused"),
        (caused(OSError("all"), ExceptionGroup("g", [OSError(113, "a")])), "No route to host"),
        (caused(RuntimeError("x"), socket.gaierror(-2, "Name not known")), "Name not known"),
        (caused(RuntimeError("x"), ssl.SSLError(1, "bad certificate")), "bad certificate"),
        (caused(RuntimeError("x"), ssl.SSLError("no number")), "('no number',)"),
    ],
)
def test_the_reason_is_the_operating_system_s(error, text):
    assert reason(error) == text


def test_errors_that_cause_one_another_have_a_reason():
    first, second = RuntimeError("first"), RuntimeError("second")
    assert reason(caused(first, caused(second, first))) == "first"


# What messages show of a URL: no credentials, no tokens.


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a.example/b/c", "http://a.example/b/c"),
        ("http://user:hunter2@a.example:81/b?token=s3cret#x", "http://a.example:81/b"),
        ("http://user:hunt@er2@a.example", "http://a.example"),
        ("http://user:hunter2@[::1]:81?token=s3cret", "http://[::1]:81"),
        ("/b?token=s3cret", "/b"),
        ("/b@c?to=a@b", "/b@c"),
        ("http://a.example/b@c", "http://a.example/b@c"),
        ("http://user:hunter2@a.example:port/", "http://a.example:port/"),
    ],
)
def test_what_is_shown(url, shown):
    assert shown_url(url) == shown


async def error_of(url, client):
    with pytest.raises((StreamLostError, StreamRefusedError)) as caught:
        async with EventSource(url, client=client, reconnect=False) as source:
            await anext(source)
    return caught.value


def secret_url(port):
    return f"http://user:hunter2@127.0.0.1:{port}/a?token=s3cret"


def is_discreet(error):
    return "hunter2" not in str(error) and "s3cret" not in str(error)


@pytest.mark.anyio
async def test_no_error_of_the_client_shows_secrets(serve, client):
    lost = await error_of(secret_url(free_port()), client)
    assert is_discreet(lost)
    assert "/a: cannot connect" in str(lost)
    broken = {"headers": {"content-encoding": "br"}}
    for answer in [status(404), stream(content_type="text/html"), stream(**broken)]:
        url = secret_url(serve(answer).port)
        error = await error_of(url, client)
        assert is_discreet(error)
        assert "token=s3cret" in error.url
    circle = await error_of(secret_url(serve(redirect(302, "/a?token=s3cret")).port), client)
    assert is_discreet(circle)


def test_a_url_that_is_none_shows_no_secrets():
    with pytest.raises(ValueError, match=r"a\.example:port") as caught:
        EventSource("http://user:hunter2@a.example:port/?token=s3cret")
    assert is_discreet(caught.value)


@pytest.mark.anyio
async def test_a_url_that_cannot_be_requested_shows_no_secrets(client):
    with pytest.raises(ValueError, match="cannot be requested") as caught:
        async with EventSource(
            "gopher://user:hunter2@a.example/?token=s3cret", client=client
        ) as source:
            await anext(source)
    assert is_discreet(caught.value)


def test_no_error_of_the_twins_shows_secrets():
    httpx = import_library("httpx")
    response = httpx.Response(404, request=httpx.Request("GET", secret_url(80)))
    with pytest.raises(StreamRefusedError) as caught:
        iter_events(response)
    assert is_discreet(caught.value)
    assert "token=s3cret" in caught.value.url
