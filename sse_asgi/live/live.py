"""Live: starts generations, follows them, stops them; an ASGI application for the last two."""

import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Final

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.checks import check_seconds, wrong_type
from sse_asgi.errors import UnknownGenerationError
from sse_asgi.headers import HeadersInput
from sse_asgi.live.events import position_of
from sse_asgi.live.generation import Generation
from sse_asgi.live.generations import Generations, check_id, check_log
from sse_asgi.live.http import Answers, Authorize
from sse_asgi.live.interrupted import Interrupted, OnInterrupted
from sse_asgi.live.log import Log
from sse_asgi.live.memory import MemoryLog
from sse_asgi.live.producer import Producer, coalescing_producer
from sse_asgi.live.record import EVENT_BYTES, Meta
from sse_asgi.live.source import Attended, LiveSource
from sse_asgi.live.writer import Bounds
from sse_asgi.other_scopes import complete_lifespan
from sse_asgi.shutdown.shutdown import DEFAULT, Shutdown
from sse_asgi.stream.failure import DescribeError
from sse_asgi.stream.options import OnChunk, OnComplete, Options
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming, check_framing

if TYPE_CHECKING:  # who uses one of these imports it; nobody else has to
    from sse_asgi.limits import Limits
    from sse_asgi.telemetry import Telemetry

_SECONDS: Final = "a number of 0 or more"
_TAKEN: Final = (
    "the id {} is taken by a generation of another owner, or was until just now; start with an id "
    "of its own, or with the owner that it has"
)


class Live:
    """Generations that outlive their viewers.

    As an ASGI application, mounted anywhere: `GET /{id}` follows a generation, `DELETE /{id}`
    stops it. A viewer resumes where its `Last-Event-ID` header, or else its `last_event_id`
    query parameter says; one that has seen everything gets 204, so that a browser does not
    come back; an unknown or foreign id gets 404 and never starts anything.

    It runs under asyncio, in the event loop that calls it; close it with `aclose` when the
    application ends, in the lifespan for instance. Each call that asks the log raises
    `LogUnavailableError` if that is out of reach, and `LogRefusedError` if it refuses, for a right
    that its user lacks, say.

    Args:
        log: Where generations are kept: `MemoryLog` for one process, `RedisLog` for many.
            `aclose` closes it.
        authorize: Decides over HTTP who may follow or stop: called with the ASGI scope, the
            id and its owner, sync or async; it returns a bool. Without it a generation with an
            owner is 404, and `DELETE` is so for an id that `start` was given.
        heartbeat: As for `EventStream`.
        send_timeout: As for `EventStream`.
        cleanup_timeout: As for `EventStream`.
        keep: Seconds for which a generation can be followed after its end.
        drain: Seconds that generations may go on once the server is told to stop; viewers of this
            process stay with them.
        max_bytes: Bytes that the events of one generation may have together, with 50 more for
            each; a larger one fails.
        max_total_bytes: The same of all generations while they run in this process; the one that
            would have more fails.
        retry: Milliseconds after which a browser reconnects; None for its own choice.
        headers: More header fields for the streams.
        shutdown: What happens to viewers of generations elsewhere when the server stops; they can
            resume at another process. With None nothing happens to any before `aclose`.
        describe_error: As for `EventStream`, for what fails a generation.
        on_interrupted: Called with the `Transcript` of a generation whose process died, as far as
            the log has it; with a second parameter, with the `Generation`, too. Once, in the
            process that noticed, which is one where somebody follows it or asks for its text.
        telemetry: What OpenTelemetry is told of each generation, once, and of its viewers.
        limits: How many viewers `Live` may have over HTTP; one above that is answered with 429.
        compress: As for `EventStream`, for viewers over HTTP.

    Raises:
        TypeError: An argument has a wrong type.
        ValueError: An argument has a value that cannot work.
    """

    def __init__(
        self,
        log: Log | None = None,
        *,
        authorize: Authorize | None = None,
        heartbeat: float | None = 15.0,
        send_timeout: float | None = 30.0,
        cleanup_timeout: float = 5.0,
        keep: float = 3600.0,
        drain: float = 25.0,
        max_bytes: int = 64 * 1024 * 1024,
        max_total_bytes: int = 1024 * 1024 * 1024,
        retry: int | None = 1000,
        headers: HeadersInput | None = None,
        shutdown: Shutdown | None = DEFAULT,
        describe_error: DescribeError | None = None,
        on_interrupted: OnInterrupted | None = None,
        telemetry: "Telemetry | None" = None,
        limits: "Limits | None" = None,
        compress: tuple[str, ...] = (),
    ) -> None:
        log = MemoryLog() if log is None else log
        check_log(log)
        check_seconds("keep", keep, "a number above 0")
        check_seconds("drain", drain, _SECONDS, or_zero=True)
        self._telemetry = telemetry
        self._source_options = Options(
            framing=TextFraming(),
            heartbeat=None,
            send_timeout=None,
            cleanup_timeout=cleanup_timeout,
            shutdown=shutdown and Shutdown(grace=drain, signals=shutdown.signals),
            describe_error=describe_error,
        )
        viewers = Options(
            framing=TextFraming(done=None),
            heartbeat=heartbeat,
            send_timeout=send_timeout,
            cleanup_timeout=cleanup_timeout,
            record=False,
            shutdown=shutdown,
        )
        bounds = Bounds(max_bytes=max_bytes, max_total_bytes=max_total_bytes)
        self._generations = Generations(log, bounds, keep=keep)
        self.answers: Answers = Answers(
            self._generations, viewers, authorize=authorize, retry=retry, headers=headers,
            drain=drain, telemetry=telemetry, limits=limits, compress=compress,
        )  # fmt: skip
        self._interrupted = Interrupted(on_interrupted, self.answers, telemetry)
        if on_interrupted is not None or telemetry is not None:
            log.on_buried = self._interrupted.note

    async def start(
        self,
        source: LiveSource,
        *,
        id: str | None = None,  # noqa: A002 - the option's name
        owner: str | None = None,
        linger: float | None = None,
        framing: Framing = TextFraming(),  # noqa: B008 - immutable
        on_chunk: OnChunk | None = None,
        on_complete: OnComplete | None = None,
        describe_error: DescribeError | None = None,
        coalesce: float | None = None,
        at_once: bool = False,
    ) -> Generation:
        """Start a generation, or follow the one of this id if it exists.

        A call that is cancelled on its way to the log starts it all the same.

        Args:
            source: As for `EventStream`; a callable may also take no argument. It is not
                touched if the id exists.
            id: 1 to 200 letters, digits and `._~:@-`, of which the first is a letter, a digit, `_`
                or `-`; by default 128 random bits. Give the id of what is generated, a message
                for instance, and a repeated start is harmless.
            owner: Who may follow and stop it.
            linger: Seconds without viewers after which it ends; `None`: it runs to its end.
                The first viewer has 30 s at least.
            framing: As for `EventStream`.
            on_chunk: As for `EventStream`.
            on_complete: As for `EventStream`: once for each generation, whoever watched.
            describe_error: As for `Live`, which asks it where this is `None`.
            coalesce: As for `EventStream`: what comes within so many seconds is one stored event.
            at_once: Viewers get what the framing begins with before the source gives anything.

        Raises:
            UnknownGenerationError: The id exists, and has another owner.
            LogUnavailableError: The log is out of reach; the generation may have begun.
            LogRefusedError: The log refuses.
            RuntimeError: `aclose` is under way; or asyncio does not run here.
            TypeError: An argument has a wrong type.
            ValueError: An argument has a value that cannot work.
        """
        self._generations.check_open()
        if owner is not None and not isinstance(owner, str):
            raise wrong_type("owner", owner, "a str or None; pass str(…) of a number")
        if linger is not None:
            check_seconds("linger", linger, _SECONDS, or_zero=True)
        key = secrets.token_urlsafe(16) if id is None else check_id(id)
        options = replace(
            self._source_options,
            framing=framing,
            on_chunk=on_chunk,
            on_complete=on_complete,
            describe_error=describe_error or self._source_options.describe_error,
            coalesce=coalesce,
        )
        attended = source if isinstance(source, Attended) else Attended(source)
        attendants = attended.attendants(self._telemetry)
        for each in attendants:
            options = each.attending(options)
        producer = Producer if coalesce is None else coalescing_producer()
        make = partial(producer, attended.opener(), options, linger=linger, at_once=at_once)
        meta = Meta(owner, datetime.now(UTC), id is not None, type(framing).__qualname__)
        self._interrupted.know(framing)
        started = await self._generations.start(key, meta.text(), make, attendants)
        if not started:
            await self._generations.find(key, owner=owner, unknown=_TAKEN)
        return Generation(key, self.answers, framing, started=started)

    async def get(
        self,
        id: str,  # noqa: A002 - the option's name
        *,
        owner: str | None = None,
        framing: Framing = TextFraming(),  # noqa: B008 - immutable
    ) -> Generation:
        """Return a generation that runs or has ended, in whichever process; never start one.

        `framing` is that of its `start`, to read its text back.

        Raises:
            UnknownGenerationError: There is none of that id, or it has another owner.
            TypeError: The id is no string, or `framing` is none.
        """
        self._interrupted.know(check_framing(framing))
        await self._generations.find(id, owner=owner)
        return Generation(id, self.answers, framing)

    async def follow(
        self,
        id: str,  # noqa: A002 - the option's name
        *,
        last_event_id: str = "",
        owner: str | None = None,
    ) -> AsyncGenerator[MessageEvent, None]:
        """Yield a generation's events, those that are there and those to come.

        `last_event_id` says where to go on: it is that of the last event seen.

        Raises:
            UnknownGenerationError: There is none of that id, or it has another owner.
            TypeError: The id is no string.
        """
        head = await self._generations.find(id, owner=owner)
        decoder = EventStreamDecoder(max_event_size=EVENT_BYTES)
        after = position_of(last_event_id, head.token)
        async with aclosing(self._generations.view(id, head, after)) as blocks:
            async for block in blocks:
                for event in decoder.feed(block.data):
                    yield event

    async def stop(self, id: str, *, owner: str | None = None) -> bool:  # noqa: A002
        """Ask for the end of a generation, in whichever process it runs.

        It ends with the end marker, outcome `stopped` and what was produced up to then. Return
        whether it was running, and is the owner's. To ask twice is harmless.

        Raises:
            TypeError: The id is no string.
        """
        try:
            head = await self._generations.find(id, owner=owner)
        except UnknownGenerationError:
            return False
        return await self._generations.stop(id, head)

    async def aclose(self, drain: float = 30.0) -> None:
        """Let the generations here end by themselves, end the rest, and close the log.

        Viewers of a generation that is ended get an event of type `error`; its outcome is
        `shut_down`. Viewers of generations elsewhere are let go, to resume elsewhere. It takes no
        longer than `drain`, `cleanup_timeout` and 4 s, whatever sources, hooks and the log do.
        Once the server was told to stop the generations have what is left of the `drain` of `Live`,
        if that is less.

        Args:
            drain: Seconds that the generations may take, 0 or more.
        """
        check_seconds("drain", drain, _SECONDS, or_zero=True)
        await self._interrupted.aclose()
        await self._generations.aclose(drain, cleanup=self._source_options.cleanup_timeout)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        if scope["type"] == "lifespan":
            await complete_lifespan(receive, send, at_shutdown=self.aclose)
        else:
            await self.answers.route(scope, receive, send)
