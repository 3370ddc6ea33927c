"""How many streams may be open at once: in this process, or, by `limits.redis`, in many."""

from sse_asgi.limits.limits import Limits

__all__ = ["Limits"]
