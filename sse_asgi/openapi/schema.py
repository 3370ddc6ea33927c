"""Short ways to write a JSON Schema, and that of an event (OpenAPI 3.2, "Server-Sent Events")."""

import re
from typing import Any, Final, TypeAlias

Schema: TypeAlias = dict[str, Any]

STR: Final[Schema] = {"type": "string"}
INT: Final[Schema] = {"type": "integer", "minimum": 0}
NULL: Final[Schema] = {"type": "null"}
OBJECT: Final[Schema] = {"type": "object"}
ARRAY: Final[Schema] = {"type": "array"}
ANY: Final[Schema] = {}


def or_null(schema: Schema) -> Schema:
    """Return the schema of a value that may be null."""
    return {"anyOf": [schema, NULL]}


def array(items: Schema) -> Schema:
    """Return the schema of an array of such items."""
    return {"type": "array", "items": items}


def obj(*, optional: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """Return the schema of an object that has these properties, but perhaps not the optional."""
    return _object(properties, optional)


def typed(kind: str, properties: Schema, *, optional: tuple[str, ...] = ()) -> Schema:
    """Return the schema of an object with this `type`, and with these properties."""
    return _object({"type": {"const": kind}, **properties}, optional)


def _object(properties: Schema, optional: tuple[str, ...]) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required}


def event(data: Schema, kind: str | None = None) -> Schema:
    """Return the schema of an event whose data is such JSON.

    Args:
        data: The schema of the JSON.
        kind: The event's type; `None` for one that names none.
    """
    text = {"type": "string", "contentMediaType": "application/json", "contentSchema": data}
    return _event(text, kind)


def text_event(data: Schema, kind: str | None = None) -> Schema:
    """Return the schema of an event whose data is such text."""
    return _event({"type": "string", **data}, kind)


def _event(data: Schema, kind: str | None) -> Schema:
    fields: Schema = {"data": data, "id": STR, "retry": INT}
    if kind is None:
        return {"type": "object", "properties": fields, "required": ["data"]}
    properties = {"event": {"const": kind}, **fields}
    return {"type": "object", "properties": properties, "required": ["event", "data"]}


def titled(event: Schema, of: str) -> Schema:
    """Return the schema of an event, with a title for the object in its data.

    Args:
        event: The schema of the event.
        of: What the title begins with: the framing, for several have an event of the same type.
    """
    data = event["properties"]["data"]
    content: Schema = data.get("contentSchema", {})
    if "properties" not in content:
        return event
    content = {"title": of.removesuffix("Framing") + _what(event, content), **content}
    properties = {**event["properties"], "data": {**data, "contentSchema": content}}
    return {**event, "properties": properties}


def _what(event: Schema, content: Schema) -> str:
    """Return what an event is called: by the type that the object names, or else the event."""
    kind = content["properties"].get("type") or event["properties"].get("event")
    if kind is None:
        return "Error" if "error" in content["properties"] else "Chunk"
    words = re.split("[^A-Za-z0-9]+", kind["const"].removeprefix("response."))
    return "".join(word.capitalize() for word in words)
