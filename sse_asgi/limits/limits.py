"""Limits: places for streams, counted in this process."""

import inspect
from collections.abc import Callable, Hashable

from sse_asgi.around import Answer, Layer, Refusal
from sse_asgi.asgi import ASGIApp, Receive, Scope, Send
from sse_asgi.checks import check_takes
from sse_asgi.limits.admission import Admitted, GuardedApp
from sse_asgi.limits.places import Places
from sse_asgi.limits.refusal import send_refusal
from sse_asgi.source.request import Request
from sse_asgi.stream.options import Options
from sse_asgi.wire.framing import Framing

PerKey = Callable[[Request], Hashable]


class Limits(Layer):
    """Bound the streams that are open at once, in all and for each client.

    A request above a bound is answered with 429 and `retry-after` before the source is called. It
    takes no place, however often it is tried, so nobody can keep others out by asking again.
    A place is free as soon as the source has ended. One object may serve several apps, which then
    share its places, in any number of event loops and threads.

    Args:
        total: Streams in all; `None` for any number.
        per: Called with the `Request`; returns the key by which streams are counted, a user's or
            an API key's for instance. A request with the key `None` counts in `total` alone.
        each: Streams for each key.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: A bound below 1, `per` without `each` or `each` without `per`, or no bound.
    """

    option = "limits"
    kind = "Limits"

    def __init__(
        self, total: int | None = None, *, per: PerKey | None = None, each: int | None = None
    ) -> None:
        _check_bound("total", total)
        _check_bound("each", each)
        _check_per(per)
        if (per is None) is not (each is None):
            given, lacking = ("per", "each") if each is None else ("each", "per")
            raise ValueError(f"{given} needs {lacking}: give both, as in per=user_of, each=2")
        if total is None and each is None:
            raise ValueError("Limits() bounds nothing: give total, or per and each")
        self._per = per
        self._places = Places(total, each)

    async def admit(self, request: Request) -> Admitted | Refusal:
        """Take a place for a request, or say why there is none."""
        taken = self._places.take(self._key_of(request))
        return taken if isinstance(taken, Refusal) else Admitted(taken)

    async def answer(
        self, answer: Answer, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Answer one request, if there is a place for it. HEAD needs none: it has no stream."""
        if scope["method"] == "HEAD":
            await answer(options, scope, receive, send)
            return
        admitted = await self.admit(Request(scope))
        if isinstance(admitted, Refusal):
            await send_refusal(admitted, options.framing, options.headers, send)
        else:
            await admitted.answer(answer, options, scope, receive, send)

    def around(self, app: ASGIApp, framing: Framing) -> ASGIApp:
        """Return an app whose event streams, and nothing else of it, need a place each."""
        return GuardedApp(app, self.admit, framing)

    def _key_of(self, request: Request) -> Hashable:
        if self._per is None:
            return None
        key = self._per(request)
        try:
            hash(key)
        except TypeError:
            kind = type(key).__qualname__
            raise TypeError(
                f"per must return a key that can be hashed, not of type {kind}"
            ) from None
        return key


def _check_bound(name: str, value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int):
        kind = type(value).__qualname__
        raise TypeError(f"{name} must be an int or None, not {value!r} ({kind})")
    if value < 1:
        raise ValueError(f"{name} must be 1 or more, not {value!r}")


def _check_per(per: object) -> None:
    if per is None:
        return
    if not callable(per) or inspect.iscoroutinefunction(per):
        kind = type(per).__qualname__
        raise TypeError(
            f"per must be a sync function of the Request, or None, not {per!r} ({kind})"
        )
    check_takes(per, "per", "the Request")
