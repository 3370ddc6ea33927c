"""The option `coalesce`: text that comes within a window leaves as one event.

The window opens with the first chunk that waits. Only text waits, and never the first of a stream.
A part, an event and the end leave at once, and the text before them with them, as an event of its
own. So does text of which there is much.
"""

from collections.abc import Callable

from sse_asgi.asgi import Receive, Send
from sse_asgi.host.loops import Handle
from sse_asgi.source.request import Request
from sse_asgi.source.source import SourceOpener, Stepper
from sse_asgi.stream.lifecycle import Phase
from sse_asgi.stream.options import Options
from sse_asgi.stream.response import Hook, Response


class CoalescingResponse(Response):
    """A response that gathers text for a while, though its source waits between chunks."""

    __slots__ = ("_window",)

    AT_ONCE = float("inf")  # every chunk is gathered

    def __init__(
        self,
        opener: SourceOpener,
        options: Options,
        request: Request,
        receive: Receive,
        send: Send,
    ) -> None:
        super().__init__(opener, options, request, receive, send)
        self._window: Handle | None = None  # the timer of the one that is open
        self.outbox.encode = _joining(self.outbox.encode)

    def send_ready(self) -> None:
        """Open a window, if nothing but text waits, and nobody for it."""
        outbox, seconds = self.outbox, self.options.coalesce
        waits = outbox.is_text_alone and outbox.sent_chunks and not self.sender.is_awaited
        if not waits or seconds is None or self.lifecycle.phase is not Phase.RUNNING:
            super().send_ready()
            return
        self.due: float = self.host.clock() + seconds
        self._window = self.sender.pending = self.host.call_later(seconds, self._window_ends)

    async def pause(self, source: Stepper) -> None:
        """Have everything sent, let others run, and let a cancellation in."""
        self._end_window()
        await super().pause(source)

    async def _take(self, chunk: object, on_chunk: Hook | None, source: Stepper) -> None:
        await super()._take(chunk, on_chunk, source)
        if chunk is not None and not isinstance(chunk, str):
            self._end_window()

    def _end_window(self) -> None:
        """Send at once what waits in a window."""
        if self._window is not None:
            self._window.cancel()
            self._window_ends()

    def _window_ends(self) -> None:
        self._window = None
        self.sender.pending = self.sender.task
        is_over = self.lifecycle.phase in (Phase.FINISHING, Phase.CLOSED)
        if self.outbox and self.sender.task is None and not is_over:
            super().send_ready()

    def close(self) -> None:
        """Let nothing stop the stream any more, and leave nothing behind; once is enough."""
        super().close()
        self._window = None  # cancelled: the sender had it, too


def _joining(encode: Callable[[list[str]], bytes]) -> Callable[[list[str]], bytes]:
    """Return what encodes chunks as the one chunk that they make together."""
    return lambda chunks: encode(chunks if len(chunks) == 1 else ["".join(chunks)])
