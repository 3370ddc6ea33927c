"""What messages show of a URL: no credentials, no tokens."""

import pytest

from sse_asgi.client import EventSource, iter_events
from sse_asgi.client.url import shown_url
from sse_asgi.errors import StreamLostError, StreamRefusedError
from tests.client.conftest import import_library
from tests.client.scripted import redirect, status, stream
from tests.servers import free_port


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
