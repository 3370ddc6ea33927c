"""What a server says of a failure."""

import json

import pytest

from sse_asgi.wire.failure import error_message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (json.dumps({"message": "boom"}), "boom"),
        (json.dumps({"error": {"message": "boom", "type": "x"}}), "boom"),
        (json.dumps({"type": "error", "message": None, "error": {"message": "boom"}}), "boom"),
        (json.dumps({"error": "boom"}), "boom"),
        (json.dumps({"type": "error", "errorText": "boom"}), "boom"),
        (json.dumps("boom"), "boom"),
        (json.dumps({"message": 7}), '{"message": 7}'),
        (json.dumps({"error": {"message": 7}}), '{"error": {"message": 7}}'),
        (json.dumps(["boom"]), '["boom"]'),
        ("boom", "boom"),
        ("", ""),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_the_message_of_an_error_event(data, message):
    assert error_message(data) == message
