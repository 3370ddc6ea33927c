"""The errors of generations. Those of logs are in `log`.

SSEError
├── UnknownGenerationError (LookupError)   there is none of that id, or it is another's
├── GenerationTooLargeError                one that outgrew `max_events` or `max_bytes`
├── GenerationInterruptedError             one that ended before its source did
└── RemoteSourceError                      one whose source raised, in another process
"""

from sse_asgi.errors import SSEError


class UnknownGenerationError(SSEError, LookupError):
    """There is no generation of that id, or it belongs to another owner."""


class GenerationTooLargeError(SSEError):
    """A generation has more events, or bytes, than `Live` allows."""


class GenerationInterruptedError(SSEError):
    """A generation ended before its source did: its process died, or its log was lost."""


class RemoteSourceError(SSEError):
    """A generation's source raised, in another process. The message names the error's type."""
