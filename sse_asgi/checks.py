"""Checks of what users pass, and the errors that name the value and the remedy."""

import inspect
from collections.abc import Callable
from typing import Any


def check_takes(
    function: Callable[..., object], name: str, *arguments: str, otherwise: str = ""
) -> int:
    """Return how many of these arguments a function of the user's is to be called with.

    It takes the first of them at least, and more if it can be called with them.

    Args:
        function: The function.
        name: What an error calls it.
        arguments: What it may be given, each as an error names it.
        otherwise: The remedy beside a parameter of its own.

    Raises:
        TypeError: It cannot be called with the first argument.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin that does not tell: the call will
        return 1
    for number in range(len(arguments), 1, -1):
        if _is_required(signature, number):
            return number
    try:
        signature.bind(None)
    except TypeError as error:
        or_all = f", or with {' and '.join(arguments)}" if arguments[1:] else ""
        raise TypeError(
            f"{name} cannot be called with one argument, {arguments[0]}{or_all}: {error}; give it "
            f"a parameter for each{otherwise}"
        ) from None
    return 1


def _is_required(signature: inspect.Signature, number: int) -> bool:
    """Tell whether a function names so many positional parameters, and can be called with them.

    A second parameter with a default counts only if it has none: it may be there for other ends.
    """
    positional = [
        parameter
        for parameter in signature.parameters.values()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if len(positional) < number or positional[number - 1].default is not inspect.Parameter.empty:
        return False
    try:
        signature.bind(*[None] * number)
    except TypeError:
        return False
    return True


def check_seconds(name: str, value: object, expected: str, *, or_zero: bool = False) -> None:
    """Raise a TypeError or ValueError unless an option is a number of seconds above 0, or 0."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise wrong_type(name, value, expected + ", in seconds")
    if not (value > 0 or (or_zero and value == 0)):  # also when it is not a number
        raise ValueError(f"{name} must be {expected}, in seconds, not {value!r}")


def check_int(name: str, value: object, *, lowest: int, highest: int | None = None) -> None:
    """Raise a TypeError or ValueError unless an option is an int within its bounds."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise wrong_type(name, value, "an int")
    if value < lowest or (highest is not None and value > highest):
        bounds = f"{lowest} or more" if highest is None else f"from {lowest} to {highest}"
        raise ValueError(f"{name} must be {bounds}, not {value!r}")


def wrong_type(name: str, value: Any, expected: str) -> TypeError:  # noqa: ANN401 - what it is
    """Return the error of an option that has another type."""
    return TypeError(f"{name} must be {expected}, not {value!r} ({type(value).__qualname__})")
