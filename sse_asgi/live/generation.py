"""Generation: one run of a source, as those see it who start or watch it."""

import asyncio
from collections.abc import Awaitable, Callable

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.live.http import Answers
from sse_asgi.stream.transcript import Transcript


class Generation:
    """A generation, here or in another process; and an ASGI application that follows it.

    As an application it answers any path and method with the events, for as many viewers as
    there are. Whoever mounts or returns it has decided that its viewers may see it.

    Attributes:
        id: Its id.
        started: Whether this call of `Live.start` began it; if not, it existed.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the option's name
        *,
        started: bool,
        ended: "asyncio.Future[Transcript] | None",
        read: Callable[[], Awaitable[Transcript]],
        answers: Answers,
    ) -> None:
        self.id = id
        self.started = started
        self._ended = ended
        self._read = read
        self._answers = answers

    async def transcript(self) -> Transcript:
        """Wait for its end and return what it produced.

        If it runs in another process, the text is read back from the log with this
        generation's framing, and `error` is a `GenerationInterruptedError` or a
        `RemoteSourceError`.

        Raises:
            UnknownGenerationError: Its time is over, or the log has lost it.
            LogUnavailableError: The log is out of reach, and it runs in another process.
        """
        if self._ended is not None:
            return await asyncio.shield(self._ended)
        return await self._read()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow it: one viewer, from where its `Last-Event-ID` says."""
        await self._answers.serve(self.id, scope, receive, send)
