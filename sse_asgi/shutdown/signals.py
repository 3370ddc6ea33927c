"""Noticing SIGTERM and SIGINT without taking them from the server.

While somebody listens, a handler of ours stands before the server's own, tells the listeners
and calls it. The rules: in the main thread only, for only there can handlers be set; never
before a default or an ignored signal, for ours would swallow it; and put back as soon as
nobody listens.
"""

import signal
import threading
from collections.abc import Callable
from importlib import import_module
from types import FrameType
from typing import Any, Final

# The module `signal` turns every handler into an enum's member first, and, as that fails, into
# its repr: ten times the time of what is to be done, for each stream that is the only one.
_signal = import_module("_signal")

Listener = Callable[[], None]

_SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGTERM", "SIGINT", "SIGBREAK") if hasattr(signal, name)
)


class SignalChain:
    """Tells listeners of a signal that stops the process, before the server hears of it."""

    def __init__(self) -> None:
        self._listeners: dict[Listener, int] = {}
        self._links: list[_Link] = []

    def add(self, listener: Listener) -> bool:
        """Count a listener in, if this is the main thread; return whether it is."""
        if not in_main_thread():
            return False
        first = not self._listeners
        self._listeners[listener] = self._listeners.get(listener, 0) + 1
        if first:  # counted in before a signal can come
            self._links = [
                _Link(signum, previous, self._tell)
                for signum in _SIGNALS
                if callable(previous := _handler_of(signum))
            ]
        return True

    def remove(self, listener: Listener) -> None:
        """Count it out again; the last one out has the handlers put back.

        Outside of the main thread do nothing: the garbage collector may free an event loop there.
        """
        if not in_main_thread():
            return
        self._listeners[listener] -= 1
        if not self._listeners[listener]:
            del self._listeners[listener]
        if not self._listeners:
            links, self._links = self._links, []
            for link in links:
                link.remove()

    def _tell(self) -> bool:
        for listener in tuple(self._listeners):
            listener()
        return bool(self._listeners)


class _Link:
    """Our handler of one signal, standing before the one that was there.

    Others may put theirs before ours and keep it; so one that is removed still hands on.
    """

    def __init__(self, signum: int, previous: Callable[..., Any], tell: Callable[[], bool]) -> None:
        self._signum = signum
        self.previous = previous
        self._tell = tell
        self._held_back = False
        self.removed = False
        _signal.signal(signum, self)

    def __call__(self, signum: int, frame: FrameType | None) -> None:
        somebody_open = self._tell()
        if somebody_open and not self._held_back and _kills_at_once(self.previous):
            self._held_back = True  # until the streams have ended
        else:
            self.previous(signum, frame)

    def remove(self) -> None:
        self.removed = True
        nobody_before_us = _signal.getsignal(self._signum) is self
        if nobody_before_us:
            _signal.signal(self._signum, self.previous)
        if self._held_back:
            self._held_back = False
            self.previous(self._signum, None)


def _handler_of(signum: int) -> object:
    """Return the handler of a signal; of ours that came back after its removal, the one behind."""
    handler: object = _signal.getsignal(signum)
    while isinstance(handler, _Link) and handler.removed:
        handler = handler.previous
    return handler


def _kills_at_once(handler: object) -> bool:
    """Tell whether a server cancels its responses the moment it hears of the signal.

    Daphne does, whose handler is Twisted's. Every other server waits, and must hear at once,
    to accept no new connections.
    """
    owner = getattr(handler, "__self__", handler)
    return type(owner).__module__.partition(".")[0] == "twisted"


def in_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


chain: Final = SignalChain()
"""The one chain: signal handlers belong to the process. It is empty while no stream is open."""
