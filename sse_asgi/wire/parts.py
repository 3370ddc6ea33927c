"""What a model says besides text: reasoning, tool calls, usage, and why it stopped."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NoReturn, TypeAlias, cast

from sse_asgi.errors import shown
from sse_asgi.wire.names import check_name, make_id


@dataclass(frozen=True, slots=True)
class Reasoning:
    """Hold a piece of what the model thinks before it answers. It is no part of the text.

    Attributes:
        text: The piece; the pieces of one stream, joined, are its reasoning.

    Raises:
        TypeError: `text` is no str.
    """

    text: str

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):  # not shown: an error may be logged
            raise TypeError(
                f"text must be a str, not of type {type(self.text).__name__}: convert it with str()"
            )


@dataclass(frozen=True, slots=True)
class ToolCall:
    """Hold one whole call of a tool: the library never sends half of one.

    Args:
        name: The tool's name.
        arguments: The arguments, as a mapping or as JSON text. "" means none, as "{}" does.
        id: What the tool's result will refer to; one of 128 random bits if none is given.

    Attributes:
        name: The tool's name.
        arguments: The arguments as JSON text: a str as it was given, a mapping encoded.
        id: The call's id.

    Raises:
        TypeError: An argument has another type, or the mapping holds what JSON has no form for.
        ValueError: `arguments` is a str that is no JSON, or `name` or `id` is empty.
    """

    name: str
    arguments: str
    id: str

    def __init__(
        self,
        name: str,
        arguments: str | Mapping[str, object],
        id: str | None = None,  # noqa: A002 - the field's name
    ) -> None:
        check_name("name", name, "the tool's name")
        if id is None:
            id = make_id("call_")  # noqa: A001 - the field's name
        check_name("id", id, "the call's id, or None to have one made")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "arguments", _arguments(arguments))
        object.__setattr__(self, "id", id)


@dataclass(frozen=True, slots=True)
class Usage:
    """Hold how many tokens an answer took. The library passes numbers on and invents none.

    Attributes:
        input_tokens: Tokens of the prompt; `None` if unknown.
        output_tokens: Tokens of the answer; `None` if unknown.

    Raises:
        TypeError: A number is neither an int nor None; a bool is no int.
        ValueError: A number is negative.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None

    def __post_init__(self) -> None:
        _check_count("input_tokens", self.input_tokens)
        _check_count("output_tokens", self.output_tokens)


@dataclass(frozen=True, slots=True)
class Finish:
    """Say why the model stopped. A stream without one finishes with "stop", or "tool_calls".

    Attributes:
        reason: "stop", "length", "tool_calls" or "content_filter"; or a word of the model's own,
            which dialects with a closed list of reasons replace.

    Raises:
        TypeError: `reason` is no str.
        ValueError: `reason` is empty.
    """

    reason: str

    def __post_init__(self) -> None:
        check_name("reason", self.reason, 'a word, "stop" for instance')


Part: TypeAlias = Reasoning | ToolCall | Usage | Finish
"""What a source may yield besides text."""


def _arguments(value: object) -> str:
    if isinstance(value, str):
        _check_json(value or "{}")
        return value or "{}"
    if not isinstance(value, Mapping):
        raise TypeError(
            f"arguments must be a mapping or JSON text, not of type {type(value).__name__}: "
            "give a dict, or json.dumps(…) of what you have"
        )
    try:
        return json.dumps(value, default=_encode_mapping, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(
            f"arguments cannot be JSON ({error}): "
            "give values of JSON's types only, or the JSON text itself"
        ) from error


def _encode_mapping(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, object]", value))
    raise TypeError(f"a value is of type {type(value).__name__}")


def _check_json(text: str) -> None:
    try:
        # Numbers are not converted: Python refuses to read very long ones, JSON does not.
        json.loads(text, parse_int=len, parse_float=len, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        where = f" at character {error.pos}" if isinstance(error, json.JSONDecodeError) else ""
        raise ValueError(
            f"arguments must be JSON text, and is none{where}: "
            "give one whole JSON text, or a mapping"
        ) from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def _check_count(field: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(
            f"{field} must be an int or None, not {shown(value)} ({type(value).__name__}): "
            "give the number of tokens, or leave it out"
        )
    if value < 0:
        raise ValueError(
            f"{field} must not be negative, as {shown(value)} is: "
            "give the number of tokens, or leave it out"
        )
