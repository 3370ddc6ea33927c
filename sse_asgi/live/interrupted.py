"""Interrupted generations: tells a hook of the user's what the log has of them."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from inspect import isawaitable
from typing import TYPE_CHECKING, Any, Final, cast

from sse_asgi import dialects
from sse_asgi.checks import check_takes
from sse_asgi.errors import LogError
from sse_asgi.live.generation import Generation
from sse_asgi.live.http import Answers
from sse_asgi.live.record import meta_of
from sse_asgi.stream.transcript import Transcript
from sse_asgi.wire.framing import Framing, JSONFraming, TextFraming

if TYPE_CHECKING:  # who uses it imports it; nobody else has to
    from sse_asgi.telemetry import Telemetry

OnInterrupted = (
    Callable[[Transcript], Awaitable[object] | object]
    | Callable[[Transcript, Generation], Awaitable[object] | object]
)

PATIENCE: Final = 2.0
"""Seconds that `aclose` waits for hooks that are being called."""

_BUILT_IN: Final[tuple[Framing, ...]] = (
    TextFraming(),
    JSONFraming(),
    dialects.ChatCompletions("-"),
    dialects.Responses("-"),
    dialects.AnthropicMessages("-"),
    dialects.UIMessages(),
    dialects.AGUI(thread_id="-", run_id="-"),
)

_logger = logging.getLogger("sse_asgi")


class Interrupted:
    """Calls `on_interrupted` for each generation that this process's log found dead first."""

    def __init__(
        self, hook: OnInterrupted | None, answers: Answers, telemetry: "Telemetry | None"
    ) -> None:
        self._hook = cast("Callable[..., object] | None", hook)
        self._telemetry = telemetry
        self._answers = answers
        self._framings: dict[str, Framing] = {type(each).__qualname__: each for each in _BUILT_IN}
        self._tasks: set[asyncio.Task[None]] = set()
        if hook is not None:
            if not callable(hook):
                raise TypeError(f"on_interrupted must be a callable or None, not {hook!r}")
            self._takes = check_takes(hook, "on_interrupted", "the Transcript", "the Generation")

    def know(self, framing: Framing) -> None:
        """Know a framing by its name, to read back what a generation with it has said."""
        self._framings[type(framing).__qualname__] = framing

    def note(self, key: str, _token: str) -> None:
        """Tell the hook, in a task of its own: the log has just written that the producer died."""
        if self._telemetry is not None:
            self._telemetry.count_interrupted()
        if self._hook is None:
            return
        task = asyncio.create_task(self._tell(self._hook, key), name="sse_asgi live interrupted")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def aclose(self) -> None:
        """Wait for the hooks that are being called, for a while."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=PATIENCE)

    async def _tell(self, hook: Callable[..., object], key: str) -> None:
        generations = self._answers.generations
        try:
            head = await generations.look(key)
            if head is None:
                return
            framing = self._framings.get(meta_of(head).framing, _BUILT_IN[0])
            transcript = await generations.read(key, framing)
            arguments: tuple[Any, ...] = (transcript, Generation(key, self._answers, framing))
            waiting = hook(*arguments[: self._takes])
            if isawaitable(waiting):
                await waiting
        except LogError as error:
            generations.outage.note(error)
        except Exception:
            _logger.exception("on_interrupted raised")
