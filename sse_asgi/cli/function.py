"""How a function of the user's is called: with what its parameters ask for."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from sse_asgi.source.request import Request

REQUIRED: object = inspect.Parameter.empty
"""Stands for a prompt that has no default."""
Function: TypeAlias = Callable[..., Any]
"""What the user wrote; what it returns is checked when it has."""

_Kinds = inspect.Parameter
_POSITIONAL = (_Kinds.POSITIONAL_ONLY, _Kinds.POSITIONAL_OR_KEYWORD)
_ANY_NUMBER = (_Kinds.VAR_POSITIONAL, _Kinds.VAR_KEYWORD)


@dataclass(frozen=True, slots=True)
class FittedFunction:
    """A function and what it is to be called with.

    Attributes:
        function: What the user wrote.
        positional: What it gets by position, in order: each "prompt" or "request".
        named: What it gets by name.
        default: The prompt where none is sent; `REQUIRED` if there is none.
    """

    function: Function
    positional: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    default: object = REQUIRED

    @property
    def takes_prompt(self) -> bool:
        """Whether the function has a parameter `prompt`."""
        return "prompt" in (*self.positional, *self.named)

    def call(self, request: Request, prompt: object) -> Any:  # noqa: ANN401 - the user's
        """Call the function for one request."""
        values = {"request": request, "prompt": prompt}
        arguments = [values[name] for name in self.positional]
        return self.function(*arguments, **{name: values[name] for name in self.named})


def fit(function: Function) -> FittedFunction:
    """Find out what a function is to be called with.

    A parameter `prompt` gets the prompt and one named `request` the `Request`. A function of
    one required positional parameter by another name gets the `Request` too. What else has a
    default keeps it.

    Raises:
        TypeError: If the function requires what nobody has.
    """
    parameters = parameters_of(function)
    if parameters is None:  # a builtin that does not tell
        return FittedFunction(function, positional=("request",))
    known = {name: each for name, each in parameters.items() if name in ("prompt", "request")}
    required = [each for each in parameters.values() if each.default is REQUIRED]
    strangers = [each for each in required if each.name not in known]
    if not known and len(strangers) == 1 and strangers[0].kind in _POSITIONAL:
        return FittedFunction(function, positional=("request",))
    if strangers:
        names = ", ".join(repr(each.name) for each in strangers)
        raise TypeError(f"it requires {names}, but can only be given 'prompt' and 'request'")
    return _by_name(function, known)


def _by_name(function: Function, known: Mapping[str, inspect.Parameter]) -> FittedFunction:
    positional_only = [name for name, each in known.items() if each.kind is _Kinds.POSITIONAL_ONLY]
    named = [name for name in known if name not in positional_only]
    default = known["prompt"].default if "prompt" in known else REQUIRED
    return FittedFunction(function, tuple(positional_only), tuple(named), default)


def parameters_of(function: Function) -> dict[str, inspect.Parameter] | None:
    """The parameters that are passed one by one; None if the function does not tell."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    return {name: each for name, each in parameters.items() if each.kind not in _ANY_NUMBER}
