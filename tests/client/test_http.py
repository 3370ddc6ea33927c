"""What is needed of an HTTP library, and what is said where it is missing."""

import socket
import ssl
import subprocess
import sys

import pytest

from sse_asgi.client.http import make_client, may_pass, reason
from tests.documents import ROOT


def run_without(*modules):
    code = f"""
import sys
for name in {modules!r}:
    sys.modules[name] = None
import sse_asgi.client, sse_asgi.client.http
try:
    print(type(sse_asgi.client.http.make_client()).__module__)
    sse_asgi.client.EventSource("http://127.0.0.1/")
except ImportError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_without_a_library_the_error_says_how_to_install_one():
    message = run_without("httpx", "httpx2")
    assert message.endswith('needs httpx: pip install "sse-asgi[client]"')
    assert "\n" not in message


def test_httpx2_will_do():
    pytest.importorskip("httpx2")
    assert run_without("httpx").partition(".")[0] == "httpx2"


def test_a_client_of_its_own_waits_for_ever_to_read():
    timeout = make_client().timeout
    assert (timeout.read, timeout.pool) == (None, None)
    assert timeout.connect == timeout.write == 10


def test_errors_of_the_network_may_pass(each_library):
    for name in ("ConnectError", "ReadTimeout", "RemoteProtocolError", "DecodingError"):
        assert may_pass(getattr(each_library, name)("x"))
    for name in ("UnsupportedProtocol", "LocalProtocolError"):
        assert may_pass(getattr(each_library, name)("x"))  # but `is_unfit` is asked before
    assert may_pass(ConnectionResetError())
    assert not may_pass(RuntimeError("closed"))
    assert not may_pass(each_library.InvalidURL("x"))


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
    ],
)
def test_the_reason_is_the_operating_system_s(error, text):
    assert reason(error) == text


def test_errors_that_cause_one_another_have_a_reason():
    first, second = RuntimeError("first"), RuntimeError("second")
    assert reason(caused(first, caused(second, first))) == "first"
