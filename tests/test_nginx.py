"""Behind nginx as it comes: default buffering, HTTP/1.0 to the app."""

import itertools
import shutil
import signal
import subprocess
from contextlib import contextmanager

import pytest

from tests.conftest import require
from tests.raw_clients import Http1
from tests.report import wait_for
from tests.servers import ROOT, SERVERS, free_port, serve

pytestmark = pytest.mark.matrix

EXAMPLE = ROOT / "docs" / "examples" / "nginx.conf"

CONFIGURATION = """
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    upstream kept {{
        server 127.0.0.1:{upstream};
        keepalive 4;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://127.0.0.1:{upstream}; }}
        {how_to}
        location /kept/ {{
            proxy_pass http://kept/;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
        location /gzip/ {{
            proxy_pass http://127.0.0.1:{upstream}/;
            gzip on;
            gzip_proxied any;
            gzip_types text/event-stream;
        }}
    }}
}}
"""
DONE = b"data: [DONE]\n\n"
PREFIXES = ("", "/by-the-how-to")
run_numbers = itertools.count()


@contextmanager
def nginx(directory, upstream):
    """Run nginx in a directory of its own, before a server on the port `upstream`."""
    executable = shutil.which("nginx") or require("/usr/sbin/nginx")
    port = free_port()
    path = directory / "nginx.conf"
    how_to = EXAMPLE.read_text().replace("location /", "location /by-the-how-to/")
    how_to = how_to.replace("http://127.0.0.1:8000", f"http://127.0.0.1:{upstream}/")
    path.write_text(
        CONFIGURATION.format(directory=directory, port=port, upstream=upstream, how_to=how_to)
    )
    command = [executable, "-e", str(directory / "error.log"), "-c", str(path)]
    process = subprocess.Popen(command, cwd=directory, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: answers(port), within=10.0, what="nginx answers")
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(10)


def answers(port):
    try:
        with Http1(port) as client:
            client.request("/ready")
            return client.read_status(within=1.0) == 200
    except (OSError, AssertionError):
        return False


@pytest.fixture(scope="module", params=["uvicorn-h11", "uvicorn-httptools", "hypercorn-asyncio"])
def proxied(request, tmp_path_factory):
    """Give a running server and the port of the nginx before it."""
    directory = tmp_path_factory.mktemp("nginx")
    with (
        serve(SERVERS[request.param], directory=directory) as server,
        nginx(directory, server.port) as port,
    ):
        yield server, port


@contextmanager
def opened(proxied, path, **request):
    server, port = proxied
    run = f"run-{next(run_numbers)}"
    with Http1(port) as client:
        client.request(f"{path}?run={run}", **request)
        yield server, client, run


@pytest.mark.parametrize("prefix", PREFIXES)
def test_events_arrive_one_by_one(proxied, prefix):
    with opened(proxied, f"{prefix}/stream/stepwise") as (server, client, run):
        assert client.read_status() == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        for number in range(5):
            assert server.get(f"/state?run={run}")["produced"] == number
            server.get(f"/step?run={run}")
            client.read_until(b"data: chunk%d\n\n" % number)
        assert client.read_all().endswith(b"data: chunk4\n\n" + DONE)
        assert server.report.wait(run, "complete")["outcome"] == "completed"


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("source", ["silent", "idle"])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_leaves_reaches_the_source(proxied, prefix, source, how):
    with opened(proxied, f"{prefix}/stream/{source}") as (server, client, run):
        client.read_status()
        server.report.wait(run, "started")
        if source == "idle":
            client.read_until(b"data: second\n\n")
        left = client.leave(how)
        complete = server.report.wait(run, "complete")
        assert complete["outcome"] == "disconnected"
        assert server.report.wait(run, "cleaned")["at"] - left < 2.0


def test_keep_alives_pass(proxied):
    with opened(proxied, "/stream/heartbeat") as (_, client, _):
        client.read_until(b": keep-alive\n" * 2)


def test_error_event_passes(proxied):
    with opened(proxied, "/stream/failing") as (_, client, _):
        assert b"event: error\ndata: {" in client.read_all()


def test_post_with_a_body_streams(proxied):
    request = {"method": "POST", "json": {"prompt": "one two"}}
    with opened(proxied, "/stream/words", **request) as (_, client, _):
        assert client.read_all() == b"data: one\n\ndata: two\n\n" + DONE


def test_events_arrive_one_by_one_through_nginxs_gzip(proxied):
    """`no-transform` binds it in theory; it compresses all the same, and flushes."""
    headers = {"accept-encoding": "gzip"}
    with opened(proxied, "/gzip/stream/stepwise", headers=headers) as (server, client, run):
        client.read_status()
        for number in range(3):
            seen = len(client.body)
            server.get(f"/step?run={run}")
            wait_for(lambda: len(client.read_for(0.02)) > seen, what=f"event {number}")  # noqa: B023 - called at once
        client.leave()
