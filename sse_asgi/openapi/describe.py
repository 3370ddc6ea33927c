"""What an OpenAPI document says of a stream: its `itemSchema`, the schema of one event (3.2)."""

from collections.abc import Mapping
from typing import Any, cast

from sse_asgi.openapi.dialects import EVENTS
from sse_asgi.openapi.schema import Schema, event, titled
from sse_asgi.wire.framing import Framing


def describe_stream(
    events: Framing | Mapping[str, Any] | type, *, description: str = "An event stream."
) -> dict[int | str, dict[str, Any]]:
    """Return what FastAPI's `responses` takes for an endpoint that streams.

    It gives the response 200 an `itemSchema`: the schema of one event, its data included. The
    document has to be one of OpenAPI 3.2 for that: `app.openapi_version = "3.2.0"`.

    Args:
        events: A framing of sse_asgi; or a model, whose JSON is the data of every event; or a
            mapping of event types to models, "message" for events that name none. A model is
            one of pydantic, a dataclass or a `TypedDict`.
        description: What the document says of the response.

    Raises:
        TypeError: `events` is none of these, or a model needs pydantic, which is not there.
        ValueError: A model refers to itself: its schema could not stand at this place.
    """
    known = _events_of(events)
    item: Schema = known[0] if len(known) == 1 else {"anyOf": known}
    content = {"text/event-stream": {"itemSchema": item}}
    return {200: {"description": description, "content": content}}


def _events_of(events: object) -> list[Schema]:
    make = EVENTS.get(type(events))
    if make is not None:
        return [titled(each, type(events).__name__) for each in make(events)]
    if isinstance(events, Mapping):
        models = cast("Mapping[str, object]", events)
        return [
            event(_schema_of(model), None if kind == "message" else kind)
            for kind, model in models.items()
        ]
    if hasattr(events, "encoder") and not isinstance(events, type):
        kind = type(events).__qualname__
        raise TypeError(
            f"events: {kind} is a framing of your own, which says nothing of its events; give a "
            "mapping of event types to models"
        )
    return [event(_schema_of(events))]


def _schema_of(model: object) -> Schema:
    """Return the schema of a model, with all that it refers to put in its place."""
    try:
        from pydantic import TypeAdapter  # noqa: PLC0415 - only for models
    except ImportError:
        raise TypeError("events: a model needs pydantic: pip install pydantic") from None
    adapter: Any = TypeAdapter
    try:
        schema: Schema = adapter(model).json_schema(mode="serialization")
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise TypeError(
            f"events must be a framing, a model or a mapping of models, not {model!r}: {why}"
        ) from error
    definitions = schema.pop("$defs", {})
    placed: Schema = _placed(schema, definitions, ())
    return placed


def _placed(value: Any, definitions: Schema, within: tuple[str, ...]) -> Any:  # noqa: ANN401 - JSON
    """Return JSON with each reference replaced: a pointer would be one into the whole document."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_placed(each, definitions, within) for each in items]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    name = str(fields.get("$ref", "")).removeprefix("#/$defs/")
    if name in within:
        raise ValueError(f"events: the model {name} refers to itself; describe it without that")
    if name in definitions:
        others = {key: each for key, each in fields.items() if key != "$ref"}
        placed = _placed(definitions[name], definitions, (*within, name))
        return {**placed, **_placed(others, definitions, within)}
    return {key: _placed(each, definitions, within) for key, each in fields.items()}
