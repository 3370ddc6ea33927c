"""The models that an app serves, and how clients are told of them."""

import inspect
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeAlias, cast

from sse_asgi.chat.body import Object
from sse_asgi.chat.error import InvalidRequestError
from sse_asgi.errors import shown

ModelsInput: TypeAlias = Iterable[str] | Callable[[], Awaitable[Iterable[str]]] | None


class Models:
    """The names of models: fixed ones, those that a function gives, or any.

    Attributes:
        takes_any: Any name will do.

    Raises:
        TypeError: `models` is none of these.
    """

    def __init__(self, models: ModelsInput) -> None:
        self._find = models if callable(models) else None
        self.takes_any: bool = models is None
        self._names = () if models is None or callable(models) else _names_in(models)

    async def choose(self, wanted: str) -> str:
        """Return the model that a client wants, or the first if it names none.

        Raises:
            InvalidRequestError: There is no such model.
        """
        if self.takes_any:
            return wanted
        names = await self.names()
        if not wanted:
            return names[0] if names else ""
        if wanted not in names:
            raise InvalidRequestError(
                "model",
                f"The model {shown(wanted)} does not exist.",
                status=404,
                code="model_not_found",
            )
        return wanted

    async def names(self) -> tuple[str, ...]:
        """Return the names; none if any name will do."""
        if self._find is None:
            return self._names
        found: object = self._find()
        return _names_in(await found if inspect.isawaitable(found) else found)


def model_object(name: str) -> Object:
    """Return a model as both OpenAI's and Anthropic's clients read it. Its age is not known."""
    return {
        "id": name,
        "object": "model",
        "created": 0,
        "owned_by": "",
        "type": "model",
        "display_name": name,
        "created_at": "1970-01-01T00:00:00Z",
    }


def model_list(names: Iterable[str]) -> Object:
    """Return a list of models as both OpenAI's and Anthropic's clients read it."""
    models = [model_object(name) for name in names]
    first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
    return {
        "object": "list",
        "data": models,
        "has_more": False,
        "first_id": first,
        "last_id": last,
    }


def _names_in(value: object) -> tuple[str, ...]:
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(
            f"models must be names of models, an async function that returns some, or None for "
            f"any, not {shown(value)}: give a tuple, ({shown(value)},) for instance"
        )
    names = tuple(cast("Iterable[object]", value))
    for name in names:
        if not isinstance(name, str) or not name:
            raise TypeError(f"models must hold names, not {shown(name)}: give non-empty strings")
    return cast("tuple[str, ...]", names)
