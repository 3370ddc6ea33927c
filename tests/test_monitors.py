"""Sentry and OpenTelemetry see a failed stream as docs/how-to/error-monitors.md says."""

import json
import subprocess
import sys

import pytest

from tests.conftest import require
from tests.servers import ROOT

pytestmark = pytest.mark.matrix

CHUNKS = 3


@pytest.fixture(scope="module")
def seen():
    """Give what the monitors have seen, by app."""
    for part in ("sentry_sdk", "opentelemetry.instrumentation.asgi", "starlette"):
        require(part)
    command = [sys.executable, "-m", "tests.apps_monitors"]
    child = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=60, check=True)
    return json.loads(child.stdout)


def server_span(spans):
    (span,) = (each for each in spans if each["kind"] == "SERVER")
    return span


@pytest.mark.parametrize("app", ["page", "Starlette"])
def test_sentry_makes_one_event_of_a_failed_stream(seen, app):
    assert seen[app]["raised"] == "NoneType"
    assert seen[app]["events"] == [
        {
            "logger": "sse_asgi",
            "level": "error",
            "message": "an event stream failed",
            "type": "LookupError",
            "mechanism": "logging",
            "handled": True,
            "raised in": "words",
            "variables": False,
        }
    ]


def test_sentry_makes_one_event_of_an_endpoint_that_fails_behind_the_middleware(seen):
    assert seen["middleware"]["raised"] == "NoneType"
    (event,) = seen["middleware"]["events"]
    assert (event["type"], event["raised in"]) == ("LookupError", "words")


def test_sentry_hears_of_a_failure_before_the_start_from_the_framework(seen):
    assert seen["prefetch"]["raised"] == "LookupError"
    (event,) = seen["prefetch"]["events"]
    assert (event["type"], event["logger"], event["mechanism"]) == (
        "LookupError",
        None,
        "starlette",
    )


def test_the_server_span_of_a_failed_stream_shows_no_error_and_a_span_of_its_own_does(seen):
    spans = seen["page"]["spans"]
    assert [(span["name"], span["kind"]) for span in spans] == [
        ("answer", "INTERNAL"),
        ("GET /", "SERVER"),
    ]
    own, server = spans
    assert (own["status"], own["exceptions"], own["is child"]) == ("ERROR", ["LookupError"], True)
    assert (server["status"], server["code"], server["exceptions"]) == ("UNSET", 200, [])


def test_on_complete_comes_too_late_for_the_server_span(seen):
    assert seen["with a hook"]["was recording"] is False


def test_the_instrumentation_makes_a_span_for_every_message_unless_told_not_to(seen):
    sends = [span for span in seen["with a hook"]["spans"] if span["name"].endswith(" send")]
    assert len(sends) >= CHUNKS + 2  # the start, and the end of the body


def test_the_server_span_shows_a_failure_before_the_start(seen):
    span = server_span(seen["prefetch"]["spans"])
    assert (span["status"], span["code"]) == ("ERROR", 500)


def test_a_client_that_leaves_is_no_error(seen):
    assert seen["left"]["events"] == []
    assert [span["status"] for span in seen["left"]["spans"]] == ["UNSET", "UNSET"]
    assert [span["exceptions"] for span in seen["left"]["spans"]] == [[], []]
