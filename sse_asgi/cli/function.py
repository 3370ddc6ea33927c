"""How a function of the user's is called: with what its parameters ask for."""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from sse_asgi.source.request import Request

REQUIRED: object = inspect.Parameter.empty
"""Stands for a prompt that has no default."""

_ANY_NUMBER = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


class Fitted(NamedTuple):
    """A function, what it takes, and the prompt where none is sent; `REQUIRED` if there is none."""

    function: Callable[..., Any]
    positional: tuple[str, ...]
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


def fit(function: Callable[..., Any]) -> Fitted:
    """Find out what a function is to be called with.

    A parameter `prompt` gets the prompt and one named `request` the `Request`. A function of
    one required positional parameter by another name gets the `Request` too. What else has a
    default keeps it.

    Raises:
        TypeError: The function requires what nobody has.
    """
    parameters = parameters_of(function)
    known = [name for name in parameters or () if name in ("prompt", "request")]
    others = [each for name, each in (parameters or {}).items() if name not in known]
    strangers = [each for each in others if each.default is REQUIRED]
    only_one = (
        not known and len(strangers) == 1 and strangers[0].kind is not strangers[0].KEYWORD_ONLY
    )
    if parameters is None or only_one:  # None: a builtin that does not tell
        return Fitted(function, ("request",))
    if strangers:
        names = ", ".join(repr(each.name) for each in strangers)
        raise TypeError(f"it requires {names}, but can only be given 'prompt' and 'request'")
    by_position = inspect.Parameter.POSITIONAL_ONLY
    positional = tuple(name for name in known if parameters[name].kind is by_position)
    named = tuple(name for name in known if name not in positional)
    default = parameters["prompt"].default if "prompt" in known else REQUIRED
    return Fitted(function, positional, named, default)


def parameters_of(function: Callable[..., Any]) -> dict[str, inspect.Parameter] | None:
    """The parameters that are passed one by one; None if the function does not tell."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None
    return {name: each for name, each in parameters.items() if each.kind not in _ANY_NUMBER}
