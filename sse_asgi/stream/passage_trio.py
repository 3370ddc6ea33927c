"""The passage under trio."""

from sse_asgi.stream.asgi import ASGIApp, Receive, Scope, Send
from sse_asgi.stream.ending_trio import TrioEnding
from sse_asgi.stream.line_trio import TrioLine
from sse_asgi.stream.options import Options
from sse_asgi.stream.passage import Passage


class TrioPassage(Passage[TrioLine], TrioEnding):
    """One request that another app answers, under trio."""

    def __init__(
        self, app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        TrioEnding.__init__(self, options, send)
        Passage.__init__(self, app, scope, receive, send)

    async def run(self) -> None:
        """Live: from the call of the app to the report of the end."""
        await self.end_with_work()

    def cancel_work(self) -> None:
        """End the app: by telling it that the client is gone, or else by a cancellation."""
        if self.hang_up():
            self.bound_cleanup()
        else:
            TrioEnding.cancel_work(self)
