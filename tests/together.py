"""Cases of a test that mostly wait for one another's like: they wait at the same time."""

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


def together(
    parameter: str, *, at_once: int | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run those cases of a test at the same time that differ in one parameter alone.

    The first that is asked for runs all that were chosen, each in a thread, or so many at once;
    every one reports what came of itself. Fixtures of the test must be of its module, for the cases
    share them.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        outcomes: dict[Any, dict[Any, Future[None]]] = {}

        @functools.wraps(test)
        def wait_for_all(request: Any, **arguments: Any) -> None:
            mine, others = _split(request.node, parameter)
            pending = outcomes.setdefault(others, {})
            if mine not in pending:
                cases = _cases(request, test, parameter)
                with ThreadPoolExecutor(at_once or len(cases)) as executor:
                    for case in cases:
                        case_arguments = {**arguments, parameter: case}
                        pending[case] = executor.submit(test, **case_arguments)
            pending.pop(mine).result()

        names = ["request", *inspect.signature(test).parameters]
        parameters = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        wait_for_all.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        return wait_for_all

    return decorate


def _split(item: Any, parameter: str) -> tuple[Any, Any]:
    """Return an item's value of one parameter, and those of its others."""
    params = dict(item.callspec.params)
    return params.pop(parameter), tuple(sorted(params.items()))


def _cases(request: Any, test: Callable[..., None], parameter: str) -> list[Any]:
    """Return the values of the parameter for which this test was chosen, all else being equal."""
    _, others = _split(request.node, parameter)
    of_test = [
        item
        for item in request.session.items
        if item.path == request.path and getattr(item, "originalname", "") == test.__name__
    ]
    split = [_split(item, parameter) for item in of_test]
    return [mine for mine, rest in split if rest == others]
