"""The option `coalesce`: text that comes within a window leaves as one event.

The window opens with the first chunk that waits. Only text waits, and never the first of a stream.
A part, an event and the end leave at once, and the text before them with them, as an event of its
own. So does text of which there is much.
"""

from collections.abc import Callable

from sse_asgi.host.loops import Handle
from sse_asgi.source.source import Stepper
from sse_asgi.stream.lifecycle import RUNNING
from sse_asgi.stream.response import Hook, Response


class CoalescingResponse(Response):
    """A response that gathers text for a while, though its source waits between chunks."""

    AT_ONCE = float("inf")  # every chunk is gathered
    due: float
    _window: Handle | None  # the timer of the one that is open

    def begin_to_send(self) -> None:
        """Let text that is sent together be one event."""
        self._window = None
        self.outbox.encode = _joining(self.outbox.encode)
        super().begin_to_send()

    def _task_waits(self) -> None:
        """Open a window, if nothing but text waits, and nobody for it."""
        outbox, sender = self.outbox, self.sender
        is_for_later = outbox.is_text_alone and outbox.sent_chunks and not sender.is_awaited
        is_free = sender.task is None and self.lifecycle.phase is RUNNING
        if is_for_later and is_free:
            seconds = self.options.coalesce or 0
            self.due = self.host.clock() + seconds
            self._window = sender.pending = self.host.call_later(seconds, self._window_ends)
        else:
            super()._task_waits()

    async def pause(self, source: Stepper) -> None:
        """Have everything sent, let others run, and let a cancellation in."""
        self._end_window()
        if self.sender.pending is None:  # all is stored: somebody has to say so
            self.arm()
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
        super()._task_waits()

    def close(self) -> None:
        """Let nothing stop the stream any more, and leave nothing behind; once is enough."""
        super().close()
        self._window = None  # cancelled: the sender had it, too


def _joining(encode: Callable[[list[str]], bytes]) -> Callable[[list[str]], bytes]:
    """Return what encodes chunks as the one chunk that they make together."""
    return lambda chunks: encode(chunks if len(chunks) == 1 else ["".join(chunks)])
