"""A request's JSON, whose parameters are checked as they are asked for."""

import json
from typing import Any, NoReturn, cast

from sse_asgi.chat.error import InvalidRequestError

Object = dict[str, Any]


class Body:
    """The parameters of one request. What is wrong raises an error that names the parameter.

    Raises:
        InvalidRequestError: The body is no JSON object.
    """

    def __init__(self, raw: bytes) -> None:
        value = _parsed(raw)
        if not isinstance(value, dict):
            raise _wrong("body", value, "a JSON object")
        self._fields = cast("Object", value)

    def text(self, name: str) -> str:
        """Return a string, "" if the client gives none."""
        value = self._fields.get(name)
        if value is None or isinstance(value, str):
            return value or ""
        raise _wrong(name, value, "a string")

    def required_text(self, name: str) -> str:
        """Return a string that the client must give."""
        value = self.text(name)
        if not value:
            raise InvalidRequestError(name, f"'{name}' is missing: it must be a string.")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean, False if the client gives none."""
        return _flag(name, self._fields.get(name))

    def flag_in(self, name: str, flag: str) -> bool:
        """Return a boolean of an object, False if the client gives none."""
        value = self._fields.get(name)
        if value is None:
            return False
        if not isinstance(value, dict):
            raise _wrong(name, value, "an object")
        return _flag(f"{name}.{flag}", cast("Object", value).get(flag))

    def number(self, name: str) -> int | None:
        """Return a whole number, None if the client gives none."""
        value = self._fields.get(name)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise _wrong(name, value, "an integer")

    def objects(self, name: str) -> list[Object]:
        """Return an array of objects, an empty one if the client gives none."""
        value = self._fields.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _wrong(name, value, "an array")
        items = cast("list[object]", value)
        for number, item in enumerate(items):
            if not isinstance(item, dict):
                raise _wrong(f"{name}[{number}]", item, "an object")
        return cast("list[Object]", items)

    def messages(
        self, name: str = "messages", *, content: str = "content", are_items: bool = False
    ) -> list[Object]:
        """Return the messages: one at least, each with a role.

        Args:
            name: The parameter.
            content: The field of a message that holds its text or its parts.
            are_items: Other items may be among them, which name their type and need no role.
        """
        messages = self.objects(name)
        if not messages:
            raise InvalidRequestError(name, f"'{name}' is missing: it must have one at least.")
        for number, message in enumerate(messages):
            _check_role(f"{name}[{number}].role", message, are_items=are_items)
            _check_content(f"{name}[{number}].{content}", message.get(content))
        return messages

    def one_message(self, name: str) -> list[Object] | None:
        """Return a parameter that is a string as a message of the user, None if it is none."""
        value = self._fields.get(name)
        if not isinstance(value, str):
            return None
        return [{"role": "user", "content": value}]

    def others(self, *names: str) -> Object:
        """Return everything but some parameters, as it was sent."""
        return {name: value for name, value in self._fields.items() if name not in names}


def _parsed(raw: bytes) -> object:
    try:
        return json.loads(raw, parse_constant=_refuse_constant)
    except RecursionError:
        raise InvalidRequestError("body", "The body is nested too deeply.") from None
    except ValueError:  # not its own message: it may quote the body
        raise InvalidRequestError("body", "The body is no JSON.") from None


def _flag(name: str, value: object) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    raise _wrong(name, value, "a boolean")


def _check_role(name: str, message: Object, *, are_items: bool) -> None:
    role = message.get("role")
    is_other_item = are_items and message.get("type", "message") != "message"
    if not isinstance(role, str) and not (role is None and is_other_item):
        raise _wrong(name, role, "a string")


def _check_content(name: str, content: object) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise _wrong(name, content, "a string or an array")
    for number, part in enumerate(cast("list[object]", content)):
        if not isinstance(part, dict):
            raise _wrong(f"{name}[{number}]", part, "an object")


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_KINDS: dict[type, str] = {
    dict: "an object",
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


def _wrong(name: str, value: object, expected: str) -> InvalidRequestError:
    subject = "The body" if name == "body" else f"'{name}'"
    return InvalidRequestError(name, f"{subject} must be {expected}, not {_KINDS[type(value)]}.")
