"""Event streams in an OpenAPI document: what each event holds, for those who generate clients."""

from sse_asgi.openapi.describe import describe_stream
from sse_asgi.openapi.naming import name_models

__all__ = ["describe_stream", "name_models"]
