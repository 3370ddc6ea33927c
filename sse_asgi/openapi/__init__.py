"""Event streams in an OpenAPI document: what each event holds, for those who generate clients."""

from sse_asgi.openapi.describe import describe_stream

__all__ = ["describe_stream"]
