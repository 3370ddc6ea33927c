"""The passage under trio."""

import anyio

from sse_asgi.stream.asgi import ASGIApp, Receive, Scope, Send
from sse_asgi.stream.ending import FINAL_GRACE
from sse_asgi.stream.ending_trio import TrioEnding
from sse_asgi.stream.line_trio import TrioLine
from sse_asgi.stream.options import Options
from sse_asgi.stream.passage import Passage
from sse_asgi.stream.transcript import Outcome


class TrioPassage(Passage[TrioLine], TrioEnding):
    """One request that another app answers, under trio."""

    def __init__(
        self, app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        TrioEnding.__init__(self, options, send)
        super().__init__(app, scope, receive, send)

    async def run(self) -> None:
        """Live: from the call of the app to the report of the end."""
        await self.end_with_work()

    def cancel_work(self) -> None:
        """End the app: by telling it that the client is gone, or else by a cancellation."""
        if self.hang_up():
            self.bound_cleanup()
        else:
            TrioEnding.cancel_work(self)

    def cancel_last_words(self, outcome: Outcome) -> None:
        """Cancel the last message, the app's or ours, once its `FINAL_GRACE` is over."""
        if self.says_last_words:
            TrioEnding.cancel_last_words(self, outcome)
        else:
            self.tasks.start_soon(self._lose_patience, outcome)

    async def _lose_patience(self, outcome: Outcome) -> None:
        await anyio.sleep(FINAL_GRACE.get(outcome, 0))
        self.give_up_last_message(outcome)
