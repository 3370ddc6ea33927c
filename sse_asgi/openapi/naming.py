"""Names for the models of streams: as components, of which generators of clients make types."""

import re
from collections.abc import Iterator
from typing import Any, Final, cast

from sse_asgi.openapi.schema import Schema

_REF: Final = "#/components/schemas/"
_NOT_IN_A_NAME: Final = re.compile(r"[^A-Za-z0-9._-]+")  # OpenAPI 3.2, "Components Object"
_DATA: Final = ("const", "default", "enum", "example", "examples")
"""Keywords whose values are no schemas."""


def name_models(document: dict[str, Any]) -> dict[str, Any]:
    """Move the models of event streams to the components of an OpenAPI document.

    `describe_stream` puts them into the `itemSchema` of each response, where few generators of
    clients look for types. Each object that has a title goes to `components/schemas`, under
    its title, and a reference takes its place. A name that another schema has gets a number.

    With FastAPI: `make = app.openapi`, then `app.openapi = lambda: name_models(make())`.

    Args:
        document: The document. It is changed; to do so twice is harmless.

    Returns:
        The document.
    """
    components: dict[str, Any] = document.setdefault("components", {}).setdefault("schemas", {})
    for media in _event_streams(document.get("paths", {})):
        media["itemSchema"] = _moved(media["itemSchema"], components)
    if not components:  # a document without any had none before
        del document["components"]["schemas"]
        if not document["components"]:
            del document["components"]
    return document


def _event_streams(value: object) -> Iterator[Schema]:
    """Yield each media type with an `itemSchema`, at any depth."""
    if isinstance(value, dict):
        fields = cast("Schema", value)
        if "itemSchema" in fields:
            yield fields
        value = list(fields.values())
    if isinstance(value, list):
        for each in cast("list[object]", value):
            yield from _event_streams(each)


def _moved(value: Any, components: Schema) -> Any:  # noqa: ANN401 - JSON
    """Return JSON with a reference for each model, the inner ones first."""
    if isinstance(value, list):
        items = cast("list[object]", value)
        return [_moved(each, components) for each in items]
    if not isinstance(value, dict):
        return value
    fields = cast("Schema", value)
    schema = {
        key: each if key in _DATA else _moved(each, components) for key, each in fields.items()
    }
    title = schema.get("title")
    if not (isinstance(title, str) and schema.get("type") == "object" and "properties" in schema):
        return schema
    return {"$ref": _REF + _name_of(schema, title, components)}


def _name_of(schema: Schema, title: str, components: Schema) -> str:
    """Return the name under which the components have a schema from now on."""
    name = stem = _NOT_IN_A_NAME.sub("_", title)
    number = 2
    while components.setdefault(name, schema) != schema:
        name, number = f"{stem}{number}", number + 1
    return name
