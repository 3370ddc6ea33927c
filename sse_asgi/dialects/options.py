"""The options that dialects have in common."""

from sse_asgi.wire.names import check_name


def check_model(model: object) -> None:
    """Raise an error unless it is a model's name."""
    check_name("model", model, "the model's name, as clients are to see it")


def check_id(field: str, value: object) -> None:
    """Raise an error unless it is an id, or None."""
    if value is not None:
        check_name(field, value, "an id, or None to have one made for each stream")
