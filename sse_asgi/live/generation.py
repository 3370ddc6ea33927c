"""Generation: one run of a source, as those see it who start or watch it."""

import asyncio

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.live.http import Answers
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing


class Generation:
    """A generation, here or in another process; and an ASGI application that follows it.

    As an application it answers any path and method with the events, and with the headers that its
    framing demands, for as many viewers as there are. Whoever mounts or returns it has decided that
    its viewers may see it.

    Attributes:
        id: Its id.
        started: Whether this call of `Live.start` began it; if not, it existed.
    """

    def __init__(
        self,
        id: str,  # noqa: A002 - the option's name
        answers: Answers,
        framing: Framing,
        *,
        started: bool = False,
    ) -> None:
        producer = answers.generations.producers.get(id)
        self.id = id
        self.started = started
        self._ended = None if producer is None else producer.ended
        self._answers = answers
        self._framing = framing

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
        return await self._answers.generations.read(self.id, self._framing)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Follow it: one viewer, from where its `Last-Event-ID` says."""
        await self._answers.serve(self.id, self._framing, scope, receive, send)
