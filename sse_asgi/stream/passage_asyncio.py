"""The passage under asyncio."""

import asyncio

from sse_asgi.stream.asgi import ASGIApp, Receive, Scope, Send
from sse_asgi.stream.ending import FINAL_GRACE
from sse_asgi.stream.ending_asyncio import AsyncioEnding
from sse_asgi.stream.line import Line
from sse_asgi.stream.options import Options
from sse_asgi.stream.passage import Passage
from sse_asgi.stream.transcript import Outcome


class AsyncioPassage(Passage[Line], AsyncioEnding):
    """One request that another app answers, under asyncio."""

    def __init__(
        self, app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        AsyncioEnding.__init__(self, options, send)
        super().__init__(app, scope, receive, send)
        self._patience: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Live: from the call of the app to the report of the end."""
        await self.end_with_work()

    def cancel_work(self) -> None:
        """End the app: by telling it that the client is gone, or else by a cancellation."""
        if self.hang_up():
            self.bound_cleanup()
        else:
            AsyncioEnding.cancel_work(self)

    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, the app's or ours, once its `FINAL_GRACE` is over."""
        if self.says_last_words:
            AsyncioEnding.cancel_last_words(self, outcome)
        elif self._patience is None:
            grace = FINAL_GRACE.get(outcome, 0)
            self._patience = self.loop.call_later(grace, self.give_up_last_message, outcome)

    def close(self) -> None:
        """Let nothing stop the stream any more, for it has ended."""
        AsyncioEnding.close(self)
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
