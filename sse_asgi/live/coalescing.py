"""The option `coalesce` of a generation: text that comes within a window is one stored event."""

from sse_asgi.coalescing import CoalescingResponse
from sse_asgi.live.producer import Producer


class CoalescingProducer(CoalescingResponse, Producer):
    """A running generation whose text is gathered."""
