"""What a server says of a failure, in the words of any dialect."""

import json
from typing import Any, Final, Self, cast

RATE_LIMITED: Final = "rate_limit_exceeded"
"""The code for a client that has to wait, as OpenAI has it."""


class ErrorMessage(str):
    """A message for clients, with the code by which programs know the same, if it has one."""

    __slots__ = ("code",)
    code: str | None

    def __new__(cls, message: str, code: str | None = None) -> Self:
        """Return the message. One that is a plain `str` has no code."""
        self = super().__new__(cls, message)
        self.code = code
        return self


def code_of(message: str) -> str | None:
    """Return the code that comes with a message, None if none does."""
    return message.code if isinstance(message, ErrorMessage) else None


def type_of(message: str, default: str) -> str:
    """Return the type of an error, as OpenAI and Anthropic name it."""
    return "rate_limit_error" if code_of(message) == RATE_LIMITED else default


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
