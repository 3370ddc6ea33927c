"""EventStreamMiddleware with its defaults over the StreamingResponse app."""

from sse_asgi.middleware import EventStreamMiddleware
from tests.bench.apps.starlette_streaming import app as streaming

app = EventStreamMiddleware(streaming)
