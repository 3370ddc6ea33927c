"""sse_asgi with its defaults; the path says which source, as in the raw loop."""

from sse_asgi import EventStream
from tests.bench.sources import SOURCES

app = EventStream(lambda request: SOURCES[request.path]())
