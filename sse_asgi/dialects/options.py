"""The options that dialects have in common."""

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from sse_asgi.wire.names import check_name


@dataclass(frozen=True, slots=True)
class ModelFraming:
    """What the dialects of a model's API have in common: its name and an id.

    Attributes:
        model: The model's name, as clients are to see it.
        id: The answer's id; each stream has one of its own if none is given.

    Raises:
        TypeError: An option is no str.
        ValueError: An option is empty.
    """

    model: str
    _: KW_ONLY
    id: str | None = None

    def __post_init__(self) -> None:
        check_name("model", self.model, "the model's name, as clients are to see it")
        check_id("id", self.id)

    @property
    def headers(self) -> Mapping[str, str]:
        """Return none: these clients demand none."""
        return {}


def check_id(field: str, value: object) -> None:
    """Raise an error unless it is an id, or None."""
    if value is not None:
        check_name(field, value, "an id, or None to have one made for each stream")
