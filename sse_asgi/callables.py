"""Checks of the functions that users pass."""

import inspect
from collections.abc import Callable


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
