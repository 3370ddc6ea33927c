"""What a server says of a failure, in the words of any dialect."""

import json
from typing import Any, cast


def error_message(data: str) -> str:
    """Return what the data of an event that tells of a failure says to a person."""
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError):
        return data
    return message_in(value) or data


def message_in(value: object) -> str:
    """Return the message that a value of JSON holds, "" if none is found."""
    if isinstance(value, str):
        return value
    fields = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    for name in ("message", "error", "errorText"):
        found = fields.get(name)
        if isinstance(found, dict):
            found = cast("dict[str, Any]", found).get("message")
        if isinstance(found, str):
            return found
    return ""
