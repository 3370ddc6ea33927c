"""The errors that sse_asgi raises.

SSEError
├── InvalidEventError (ValueError)     an event that the wire cannot carry
├── FramingError (ValueError)          an event whose data does not fit the framing
├── EventTooLargeError                 an event over the decoder's limit
├── RequestTooLargeError               a request body over `max_body_size`
├── SourceSpentError (RuntimeError)    an iterator asked to serve a second response
├── IncompleteStreamError              a stream that ended without its end marker
│   └── StreamFailedError              a stream whose server said, with an event, that it failed
├── StreamLostError (ConnectionError)  a connection that failed, or broke off
├── StreamRefusedError                 a response that is no event stream
├── UpstreamTruncatedError             a model's stream that ended without its terminal event
├── UpstreamFailedError                a model's stream that tells of its failure
├── UnknownGenerationError (LookupError)
│                                      no generation of that id, or another owner's
├── GenerationTooLargeError            a generation over `max_bytes`
├── GenerationInterruptedError         a generation that ended before its source did
├── RemoteSourceError                  a source that raised in another process
└── LogError                           what a log of generations raises
    ├── LogUnavailableError            the store is out of reach
    ├── LogRefusedError                the store refuses, and would refuse it again
    ├── LeaseLostError                 the log no longer knows the producer
    └── FencedError                    the generation has ended, or another producer
"""


class SSEError(Exception):
    """The root of every error that sse_asgi raises on its own account."""


class InvalidEventError(SSEError, ValueError):
    """An event's field has a type or a value that the event stream format cannot carry."""


class FramingError(SSEError, ValueError):
    """A received event's data is not what the framing in use sends: the two sides differ."""


class EventTooLargeError(SSEError):
    """An incoming event is larger than the decoder's `max_event_size`, in bytes."""


class RequestTooLargeError(SSEError):
    """A request's body is larger than `max_body_size`, in bytes."""


class SourceSpentError(SSEError, RuntimeError):
    """An iterator that has already served one response was asked to serve another."""


class IncompleteStreamError(SSEError):
    """A stream ended before it was complete: without its end marker, or without what comes first.

    Attributes:
        text: The text received up to then.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(message)
        self.text = text


class StreamFailedError(IncompleteStreamError):
    """The server told, in the words of its framing, that the stream has failed.

    Attributes:
        message: What the server says of it.
        text: The text received up to then.
    """

    def __init__(self, message: str, *, text: str) -> None:
        super().__init__(f"the server says that the stream failed: {message}", text=text)
        self.message = message


class StreamLostError(SSEError, ConnectionError):
    """A connection could not be made, broke off, or was silent for too long.

    Its `__cause__` is the error of the HTTP client.
    """


class StreamRefusedError(SSEError):
    """A response is no event stream that a client may read, by its status or content type.

    Attributes:
        status: The response's status.
        content_type: Its content type, "" for none.
        url: The URL that answered, after redirects.
        body: The first 2,000 characters of the body; where it came slowly, those that had come.
    """

    def __init__(
        self, message: str, *, status: int, content_type: str = "", url: str = "", body: str = ""
    ) -> None:
        super().__init__(message)
        self.status = status
        self.content_type = content_type
        self.url = url
        self.body = body


class UpstreamTruncatedError(SSEError):
    """A model's stream ended without its terminal event: what came of the answer is not whole."""


class UpstreamFailedError(SSEError):
    """A model's stream told, by an event that its SDK does not raise for, that it has failed."""


class UnknownGenerationError(SSEError, LookupError):
    """There is no generation of that id, or it belongs to another owner."""


class GenerationTooLargeError(SSEError):
    """A generation has more events, or bytes, than `Live` allows."""


class GenerationInterruptedError(SSEError):
    """A generation ended before its source did: its process died, or its log was lost."""


class RemoteSourceError(SSEError):
    """A generation's source raised, in another process. The message names the error's type."""


class LogError(SSEError):
    """The root of the errors that a log of generations raises."""


class LogUnavailableError(LogError):
    """The store could not be reached, or would not answer. The same call may be repeated.

    Its `__cause__` is what the store's client raised.
    """


class LogRefusedError(LogError):
    """The store refuses what was asked, and would refuse it again: rights, a password, a defect.

    Its `__cause__` is what the store's client raised.
    """


class LeaseLostError(LogError):
    """The log no longer knows the producer. `Log.attach` takes the generation back."""


class FencedError(LogError):
    """The generation has ended or belongs to another producer. Its source has to stop."""


def shown(value: object, *, limit: int = 60) -> str:
    """Give a value's `repr`, cut to about `limit` characters, for an error message.

    Never raises: a value whose `repr` fails is named by its type.
    """
    if isinstance(value, str | bytes):
        value = value[: limit + 1]
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken repr, or an int of too many digits, is no reason to fail
        return f"<{type(value).__name__}>"
    return text if len(text) <= limit else f"{text[:limit]}..."
