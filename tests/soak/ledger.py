"""What came of each stream, and which rules were broken."""

import gc
import logging
import sys
import threading
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sse_asgi import Outcome, TextFraming, Transcript

from .plan import Plan

ABANDONED = "aclose(): asynchronous generator is already running"
"""What asyncio logs of an async generator that still runs when nobody needs it any more: a source
that has ignored its end was abandoned, as it should be."""

KEPT = 20  # problems that are told in words


class PlannedError(Exception):
    """What sources and hooks raise in a soak."""


@dataclass(slots=True)
class Entry:
    """One stream: how far it has come."""

    plan: Plan
    produced: int = 0  # chunks that the source has yielded
    began: bool = False
    told: list[Transcript] = field(default_factory=list)  # to `on_complete`
    hooks_ended: int = 0


class Ledger:
    """The streams that are open, the outcomes of the others, and every broken rule."""

    def __init__(self) -> None:
        self.open: dict[int, Entry] = {}
        self.outcomes: Counter[str] = Counter()
        self.broken = 0
        self.problems: list[str] = []

    def enter(self, plan: Plan) -> Entry:
        entry = self.open[plan.number] = Entry(plan)
        return entry

    def problem(self, text: str, plan: Plan | None = None) -> None:
        """Note a broken rule; the first ones are kept in words."""
        self.broken += 1
        if len(self.problems) < KEPT:
            self.problems.append(f"{text}; {short(plan)}" if plan else text)

    def leave(self, entry: Entry, error: BaseException | None) -> None:
        """Judge a stream whose app has ended, by returning or by raising `error`."""
        plan = entry.plan
        del self.open[plan.number]
        if error is not None and not is_planned(error):
            self.problem(f"the app raised {error!r}", plan)
        if len(entry.told) != entry.began:
            self.problem(f"on_complete was called {len(entry.told)} times, not {entry.began}", plan)
        if entry.hooks_ended != len(entry.told):
            self.problem("on_complete was cut off", plan)
        for transcript in entry.told[:1]:
            self.outcomes[transcript.outcome] += 1
            for text in wrong_in(transcript, entry):
                self.problem(f"{text} in {transcript.outcome}", plan)


def wrong_in(transcript: Transcript, entry: Entry) -> Iterator[str]:
    """Compare a transcript with the plan."""
    plan = entry.plan
    expected = plan.text if plan.record else ""
    if transcript.outcome not in plan.outcomes:
        yield f"an outcome ({transcript.error!r}) that cannot be"
    if not expected.startswith(transcript.text):
        yield f"the text {transcript.text[-40:]!r} was never produced"
    if not transcript.sent_chunks <= transcript.chunks <= len(plan.chunks):
        yield f"{transcript.sent_chunks} of {transcript.chunks} of {len(plan.chunks)} chunks sent"
    if transcript.outcome is Outcome.COMPLETED and transcript.chunks != len(plan.chunks):
        yield f"{transcript.chunks} chunks of {len(plan.chunks)}"


def wrong_with(text: str, *, ended: bool, plan: Plan, produced: int | None = None) -> str | None:
    """Say what is wrong with the text that a client got, or None.

    Args:
        text: What the client has decoded.
        ended: The end marker came.
        plan: What the source was to produce.
        produced: How many chunks it has yielded, if the client can know that.
    """
    whole = as_received("".join(plan.chunks[:produced]), plan)
    if not whole.startswith(text):
        return f"the client got {text[-40:]!r}, which was never produced"
    if ended and text != as_received(plan.text, plan):
        return f"the end marker came after {len(text)} characters of {len(plan.text)}"
    return None


def as_received(text: str, plan: Plan) -> str:
    if isinstance(plan.framing, TextFraming):  # the standard normalises line breaks
        return text.replace("\r\n", "\n").replace("\r", "\n")
    return text


def is_planned(error: BaseException) -> bool:
    """Tell whether an exception is a planned one, or a group of planned ones."""
    if isinstance(error, BaseExceptionGroup):
        return all(is_planned(each) for each in error.exceptions)
    return isinstance(error, PlannedError)


def short(plan: Plan) -> str:
    """Describe a plan without its chunks."""
    fields = ("number", "kind", "threaded", "pause", "fault", "fault_at", "swallows", "cleanup",
              "on_chunk", "on_complete", "client", "leaves_after", "prefetch", "record",
              "heartbeat")  # fmt: skip
    return ", ".join(f"{name}={getattr(plan, name)!r}" for name in fields)


@contextmanager
def noise_is_a_problem(ledger: Ledger) -> Iterator[None]:
    """Note as a problem what event loops, threads and the interpreter complain of meanwhile."""
    handler = Listener(ledger)
    logger = logging.getLogger()
    old = sys.unraisablehook, threading.excepthook
    sys.unraisablehook = lambda args: ledger.problem(f"unraisable: {args.exc_value!r}")
    threading.excepthook = lambda args: ledger.problem(f"in a thread: {args.exc_value!r}")
    logger.addHandler(handler)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            warnings.showwarning = lambda text, *_args, **_more: ledger.problem(f"warning: {text}")
            yield
            gc.collect()  # what nobody awaited warns here
    finally:
        logger.removeHandler(handler)
        sys.unraisablehook, threading.excepthook = old


class Listener(logging.Handler):
    """Notes what is logged as an error and was not planned."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.ERROR)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if record.name == "sse_asgi" and error is None:  # such as a source that does not end
            return
        if str(error) == ABANDONED:
            return
        if error is None or not is_planned(error):
            self._ledger.problem(f"logged by {record.name}: {record.getMessage()} ({error!r})")
