"""The other side: a client of event streams that reconnects and gathers the text.

It needs httpx, the extra `client`, or is given a client of httpx or httpx2.
"""

from sse_asgi.client.event_source import EventSource
from sse_asgi.client.sync import collect_text, follow, iter_events

__all__ = ["EventSource", "collect_text", "follow", "iter_events"]
