"""Cases of a test that mostly wait, for a server or a process: they wait at the same time."""

import functools
import inspect
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

Case = tuple[Any, ...]  # its values of the parameters that differ


def together(
    *parameters: str, at_once: int | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Run those cases of a test at the same time that differ in these parameters alone.

    The first that is asked for runs all that were chosen, each in a thread, or so many at once;
    every one reports what came of itself. Fixtures of the test must be of its module, for the cases
    share them.
    """

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        outcomes: dict[Any, dict[Case, Future[None]]] = {}

        @functools.wraps(test)
        def wait_for_all(request: Any, **arguments: Any) -> None:
            mine, others = _split(request.node, parameters)
            pending = outcomes.setdefault(others, {})
            if mine not in pending:
                cases = _cases(request, test, parameters)
                with ThreadPoolExecutor(at_once or len(cases)) as executor:
                    for case in cases:
                        given = arguments | dict(zip(parameters, case, strict=True))
                        pending[case] = executor.submit(test, **given)
            pending.pop(mine).result()

        names = ["request", *inspect.signature(test).parameters]
        keywords = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in names]
        wait_for_all.__signature__ = inspect.Signature(keywords)  # type: ignore[attr-defined]
        return wait_for_all

    return decorate


def _split(item: Any, parameters: tuple[str, ...]) -> tuple[Case, Any]:
    """Return an item's values of these parameters, and those of its others."""
    params = dict(item.callspec.params)
    return tuple(params.pop(each) for each in parameters), tuple(sorted(params.items()))


def _cases(request: Any, test: Callable[..., None], parameters: tuple[str, ...]) -> list[Case]:
    """Return the cases of this test that were chosen and do not differ in anything else."""
    _, others = _split(request.node, parameters)
    of_test = [
        item
        for item in request.session.items
        if item.path == request.path and getattr(item, "originalname", "") == test.__name__
    ]
    split = [_split(item, parameters) for item in of_test]
    return [mine for mine, rest in split if rest == others]
