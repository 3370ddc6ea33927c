"""What the clients of a dialect are told when a generation, or a connection, ends too early."""

from collections.abc import Mapping
from typing import Any, Protocol

from sse_asgi.dialects import AGUI, UIMessages
from sse_asgi.dialects.events import DONE, typed_event
from sse_asgi.wire.framing import Framing
from sse_asgi.wire.outcome import Outcome


class Words(Protocol):
    """The words of one dialect. Each method returns whole encoded events."""

    @property
    def headers(self) -> Mapping[str, str]:
        """The response headers that its clients demand."""
        ...

    def failed(self, message: str, last: int) -> bytes:
        """Tell that the generation has ended, though its answer has not.

        Args:
            message: For people.
            last: How many events the client has got.
        """
        ...

    def let_go(self, message: str, last: int) -> bytes:
        """Tell that this connection ends; the generation may go on. Never nothing."""
        ...


class UIMessagesWords:
    """For AI SDK: its clients take a clean end for a whole answer, so both are errors."""

    def __init__(self) -> None:
        self._framing: Framing = UIMessages()
        self.headers: Mapping[str, str] = self._framing.headers

    def failed(self, message: str, last: int) -> bytes:  # noqa: ARG002 - its events have no numbers
        """Return an error."""
        return self._framing.encoder().fail(message, Outcome.FAILED)

    let_go = failed


class AGUIWords:
    """For AG-UI: without an error or an end its clients come back by themselves."""

    def __init__(self) -> None:
        self._framing: Framing = AGUI(thread_id="-", run_id="-")
        self.headers: Mapping[str, str] = self._framing.headers

    def failed(self, message: str, last: int) -> bytes:  # noqa: ARG002 - its events have no numbers
        """Return an error."""
        return self._framing.encoder().fail(message, Outcome.FAILED)

    def let_go(self, message: str, last: int) -> bytes:  # noqa: ARG002 - nobody reads it
        """Return a comment."""
        return b": to be continued\n"


class ResponsesWords:
    """For OpenAI's Responses: both are errors, at which its clients raise.

    Args:
        response: The response object.
    """

    def __init__(self, response: dict[str, Any]) -> None:
        self.headers: Mapping[str, str] = {}
        self._response = response

    def failed(self, message: str, last: int) -> bytes:
        """Return an error, and the response that has failed."""
        error = {"code": "server_error", "message": message}
        failed = {**self._response, "status": "failed", "error": error}
        told = {"type": "response.failed", "response": failed, "sequence_number": last + 1}
        return self._error(message, last) + typed_event(told) + DONE

    def let_go(self, message: str, last: int) -> bytes:
        """Return an error. Its number is that of the last event: from there it can go on."""
        return self._error(message, max(0, last - 1))

    def _error(self, message: str, number: int) -> bytes:
        error = {"type": "server_error", "code": "server_error", "message": message, "param": None}
        return typed_event({"type": "error", "error": error, "sequence_number": number})
