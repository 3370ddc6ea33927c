"""The errors of which a `ChatApp` tells its clients."""

from sse_asgi.errors import shown


class ChatError(Exception):
    """Refuse a chat, or end it, with a message for the client.

    Raised before the first chunk, it is the answer's HTTP status; later, when that is sent, it is
    the error event of the client's dialect. The client sees the message in both cases, and the code
    where its dialect has a place for one.

    Args:
        status: An HTTP status from 400 to 599.
        message: What the client is told.
        code: A word for programs, `rate_limit_exceeded` for instance.
        retry_after: Seconds after which a new try makes sense; whole ones go out, rounded up.

    Raises:
        TypeError: An argument has another type.
        ValueError: `status` is no status of an error, or `retry_after` is negative.
    """

    param: str | None = None  # of a request that names it wrongly

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        _check_status(status)
        if not isinstance(message, str):
            raise TypeError(f"message must be a str, not of type {type(message).__name__}")
        if code is not None and not isinstance(code, str):
            raise TypeError(f"code must be a str or None, not {shown(code)}")
        _check_seconds(retry_after)
        super().__init__(message)
        self.status = status
        self.message = message
        self.code = code
        self.retry_after = retry_after


class InvalidRequestError(ChatError):
    """A request with a parameter that is wrong: `param`, as the client sent it."""

    def __init__(
        self, param: str, message: str, *, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(status, message, code=code)
        self.param = param


def _check_status(status: object) -> None:
    if isinstance(status, bool) or not isinstance(status, int):
        raise TypeError(f"status must be an int, not {shown(status)} ({type(status).__name__})")
    if not 400 <= status <= 599:
        raise ValueError(f"status must be one of an error, from 400 to 599, not {shown(status)}")


def _check_seconds(seconds: object) -> None:
    if seconds is None:
        return
    if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
        raise TypeError(f"retry_after must be a number of seconds or None, not {shown(seconds)}")
    if not 0 <= seconds < float("inf"):
        raise ValueError(f"retry_after must be 0 or more seconds, not {shown(seconds)}")
