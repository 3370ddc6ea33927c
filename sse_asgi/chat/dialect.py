"""What differs from one kind of client to the next: how it asks, and how it is answered."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from sse_asgi.chat.answer import Answer
from sse_asgi.chat.body import Body, Object
from sse_asgi.chat.error import ChatError
from sse_asgi.chat.whole import Kept
from sse_asgi.wire.framing import Framing

MakeWhole: TypeAlias = Callable[[Kept], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one request asks for.

    Attributes:
        messages: The messages as sent.
        messages_in: The parameter that holds them.
        framing: Given the model's name, returns the framing of the answer.
        whole: Given what was said, returns the answer as one JSON object; `None` where the client
            wants a stream.
        named: The client's name for the answer, by which it comes back for it with `live`; `None`
            where it does not come back.
        needs_live: The parameter that asks for what only an app with `live` has.
    """

    messages: list[Object]
    messages_in: str = "messages"
    framing: Callable[[str], Framing]
    whole: MakeWhole | None
    named: str | None = None
    needs_live: str | None = None


class Dialect(Protocol):
    """One kind of client."""

    @property
    def name(self) -> str:
        """What `Chat.dialect` says."""
        ...

    def read(self, body: Body) -> Order:
        """Return what a request asks for.

        Raises:
            InvalidRequestError: A parameter is wrong, or cannot be served.
        """
        ...

    def refusal(self, error: ChatError) -> Answer:
        """Return what tells the client of an error, in its own shape."""
        ...
