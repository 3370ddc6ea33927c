"""What the options of `Live` mean for its generations, and for the responses to their viewers."""

from dataclasses import replace
from typing import NamedTuple

from sse_asgi.live.drain import while_draining
from sse_asgi.shutdown.shutdown import Shutdown
from sse_asgi.stream.failure import DescribeError
from sse_asgi.stream.options import HeadersInput, Options, make_headers
from sse_asgi.wire.framing import TextFraming


class LiveOptions(NamedTuple):
    """Options of streams.

    Attributes:
        sources: Those of the generations.
        here: Those of the responses to viewers of what runs here.
        elsewhere: Those of the responses to viewers of what runs elsewhere.
    """

    sources: Options
    here: Options
    elsewhere: Options


def live_options(
    *,
    heartbeat: float | None,
    send_timeout: float | None,
    cleanup_timeout: float,
    headers: HeadersInput | None,
    shutdown: Shutdown | None,
    drain: float,
    describe_error: DescribeError | None,
) -> LiveOptions:
    """Return them; the arguments are those of `Live`.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """
    elsewhere = Options(
        framing=TextFraming(done=None),
        headers=(*make_headers(headers), (b"x-content-type-options", b"nosniff")),
        heartbeat=heartbeat,
        send_timeout=send_timeout,
        cleanup_timeout=cleanup_timeout,
        record=False,
        shutdown=shutdown,
    )
    of_sources, of_viewers = while_draining(shutdown, drain)
    sources = Options(
        framing=TextFraming(),
        heartbeat=None,
        send_timeout=None,
        cleanup_timeout=cleanup_timeout,
        shutdown=of_sources,
        describe_error=describe_error,
    )
    return LiveOptions(sources, replace(elsewhere, shutdown=of_viewers), elsewhere)
