"""Live: starts generations, follows them, stops them; an ASGI application for the last two."""

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

from sse_asgi.asgi import Receive, Scope, Send
from sse_asgi.errors import UnknownGenerationError
from sse_asgi.live.answers import Answers, Authorize
from sse_asgi.live.checks import (
    check_authorize,
    check_int,
    check_log,
    check_loop,
    check_owner,
    check_seconds,
)
from sse_asgi.live.frames import encoder, position_of
from sse_asgi.live.generation import Generation
from sse_asgi.live.log import Head, Log
from sse_asgi.live.memory import MemoryLog
from sse_asgi.live.opener import LiveSource, open_live
from sse_asgi.live.producer import Producer
from sse_asgi.live.running import Running
from sse_asgi.live.tail import Tails
from sse_asgi.live.transcripts import EVENT_BYTES
from sse_asgi.live.viewing import Viewing, check_id
from sse_asgi.shutdown.shutdown import DEFAULT, Shutdown
from sse_asgi.stream.failure import DescribeError
from sse_asgi.stream.options import (
    HeadersInput,
    OnChunk,
    OnComplete,
    Options,
    make_headers,
)
from sse_asgi.stream.other_scopes import complete_lifespan
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.events import MAX_RECONNECTION_TIME, MessageEvent
from sse_asgi.wire.framing import Framing, TextFraming, check_framing
from sse_asgi.wire.outcome import Outcome


class Live:
    """Generations that outlive their viewers.

    As an ASGI application, mounted anywhere: `GET /{id}` follows a generation, `DELETE /{id}`
    stops it. A viewer resumes where its `Last-Event-ID` header, or else its `last_event_id`
    query parameter says; one that has seen everything gets 204, so that a browser does not
    come back; an unknown or foreign id gets 404 and never starts anything.

    It runs under asyncio, in the event loop that calls it; close it with `aclose` when the
    application ends, in the lifespan for instance.

    Args:
        log: Where generations are kept: `MemoryLog` for one process, `RedisLog` for many.
            `aclose` closes it.
        authorize: Decides over HTTP who may follow or stop: called with the ASGI scope, the
            id and its owner, sync or async. Without it a generation with an owner is 404.
        heartbeat: As for `EventStream`.
        send_timeout: As for `EventStream`.
        cleanup_timeout: As for `EventStream`.
        keep: Seconds for which a generation can be followed after its end.
        max_events: Events that one generation may have; a larger one fails.
        max_bytes: Bytes that the events of one generation may have together.
        retry: Milliseconds after which a browser reconnects; None for its own choice.
        headers: More header fields for the streams.
        shutdown: What happens to viewers when the server stops; they can resume elsewhere.
        describe_error: As for `EventStream`, for what fails a generation.

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
        max_events: int = 1_000_000,
        max_bytes: int = 64 * 1024 * 1024,
        retry: int | None = 1000,
        headers: HeadersInput | None = None,
        shutdown: Shutdown | None = DEFAULT,
        describe_error: DescribeError | None = None,
    ) -> None:
        self._log: Log = MemoryLog() if log is None else log
        check_log(self._log)
        check_authorize(authorize)
        check_seconds("keep", keep)
        check_int("max_events", max_events, lowest=1)
        check_int("max_bytes", max_bytes, lowest=1)
        if retry is not None:
            check_int("retry", retry, lowest=0, highest=MAX_RECONNECTION_TIME)
        self._source_options = Options(
            framing=TextFraming(), cleanup_timeout=cleanup_timeout, describe_error=describe_error
        )
        viewer_options = Options(
            framing=TextFraming(done=None),
            headers=(*make_headers(headers), (b"x-content-type-options", b"nosniff")),
            heartbeat=heartbeat,
            send_timeout=send_timeout,
            cleanup_timeout=cleanup_timeout,
            record=False,
            shutdown=shutdown,
        )
        self._running = Running(self._log, keep=keep, max_events=max_events, max_bytes=max_bytes)
        self._tails = Tails(self._log)
        self._viewing = Viewing(self._log, self._running.producers, self._tails)
        self._answers = Answers(
            self._viewing, self._stop, viewer_options, authorize=authorize, retry=retry
        )

    async def start(
        self,
        source: LiveSource,
        *,
        id: str | None = None,  # noqa: A002 - the contract's name
        owner: str | None = None,
        linger: float | None = None,
        framing: Framing = TextFraming(),  # noqa: B008 - immutable
        on_chunk: OnChunk | None = None,
        on_complete: OnComplete | None = None,
    ) -> Generation:
        """Start a generation, or follow the one of this id if it exists.

        A call that is cancelled on its way to the log starts it all the same.

        Args:
            source: As for `EventStream`; a callable may also take no argument. It is not
                touched if the id exists.
            id: 1 to 200 letters, digits and `._~:@-`; by default 128 random bits. Give the id
                of what is generated, a message for instance, and a repeated start is harmless.
            owner: Who may follow and stop it.
            linger: Seconds without viewers after which it ends; `None`: it runs to its end.
                The first viewer has 30 s at least.
            framing: As for `EventStream`.
            on_chunk: As for `EventStream`.
            on_complete: As for `EventStream`: once for each generation, whoever watched.

        Raises:
            UnknownGenerationError: The id exists, and has another owner.
            LogUnavailableError: The log is out of reach.
            RuntimeError: `aclose` is under way; or asyncio does not run here.
            TypeError: An argument has a wrong type.
            ValueError: An argument has a value that cannot work.
        """
        self._running.check_open()
        check_loop()
        check_owner(owner)
        if linger is not None:
            check_seconds("linger", linger, or_zero=True)
        key = secrets.token_urlsafe(16) if id is None else check_id(id)
        options = replace(
            self._source_options, framing=framing, on_chunk=on_chunk, on_complete=on_complete
        )
        token = secrets.token_urlsafe(12)
        producer = Producer(
            open_live(source),
            options,
            token,
            linger=linger,
            ask_lease=lambda tell: self._running.ask_lease(key, tell),
        )
        meta = json.dumps({"owner": owner, "started_at": datetime.now(UTC).isoformat()})
        started = await self._running.begin(key, producer, meta)
        if not started:
            await self._viewing.join(key, owner=owner)
        return self._generation(key, framing, started=started)

    async def get(
        self,
        id: str,  # noqa: A002 - the contract's name
        *,
        owner: str | None = None,
        framing: Framing = TextFraming(),  # noqa: B008 - immutable
    ) -> Generation:
        """Return a generation that runs or has ended, in whichever process; never start one.

        Args:
            id: The generation.
            owner: Who asks.
            framing: That of its `start`, to read its text back.

        Raises:
            UnknownGenerationError: There is none of that id, or it has another owner.
            LogUnavailableError: The log is out of reach.
            TypeError: The id is no string, or `framing` is none.
        """
        check_framing(framing)
        await self._viewing.find(id, owner=owner)
        return self._generation(id, framing, started=False)

    async def follow(
        self,
        id: str,  # noqa: A002 - the contract's name
        *,
        last_event_id: str = "",
        owner: str | None = None,
    ) -> AsyncGenerator[MessageEvent, None]:
        """Yield a generation's events, those that are there and those to come.

        Args:
            id: The generation.
            last_event_id: Where to go on: the `last_event_id` of the last event seen.
            owner: Who asks.

        Raises:
            UnknownGenerationError: There is none of that id, or it has another owner.
            LogUnavailableError: The log is out of reach.
            TypeError: The id is no string.
        """
        head = await self._viewing.find(id, owner=owner)
        decoder = EventStreamDecoder(max_event_size=EVENT_BYTES)
        after = position_of(last_event_id, head.token)
        async with aclosing(self._viewing.read(id, head, after, encoder(head.token))) as frames:
            async for frame in frames:
                for event in decoder.feed(frame.encode()):
                    yield event

    async def stop(self, id: str, *, owner: str | None = None) -> bool:  # noqa: A002
        """Ask for the end of a generation, in whichever process it runs.

        It ends with the end marker, outcome `stopped` and what was produced up to then.

        Returns:
            Whether it was running, and is the owner's. To ask twice is harmless.

        Raises:
            LogUnavailableError: The log is out of reach.
            TypeError: The id is no string.
        """
        try:
            head = await self._viewing.find(id, owner=owner)
        except UnknownGenerationError:
            return False
        return await self._stop(id, head)

    async def aclose(self, drain: float = 30.0) -> None:
        """Let the generations here end by themselves, end the rest, and close the log.

        Viewers of a generation that is ended get an event of type `error`; its outcome is
        `shut_down`. Viewers of generations elsewhere are let go, to resume elsewhere.

        Args:
            drain: Seconds that the generations may take.

        Raises:
            TypeError: `drain` is no number.
            ValueError: `drain` is less than 0.
        """
        check_seconds("drain", drain, or_zero=True)
        try:
            await self._running.aclose(drain)
            await self._tails.aclose()
            await self._log.aclose()
        finally:
            self._running.reopen()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection, by the ASGI specification."""
        if scope["type"] == "lifespan":
            await complete_lifespan(receive, send, at_shutdown=self.aclose)
        else:
            await self._answers.route(scope, receive, send)

    def _generation(self, key: str, framing: Framing, *, started: bool) -> Generation:
        return Generation(
            key,
            started=started,
            task=self._running.tasks.get(key),
            framing=framing,
            viewing=self._viewing,
            answers=self._answers,
        )

    async def _stop(self, key: str, head: Head) -> bool:
        """Stop a generation that the caller may stop."""
        producer = self._running.producers.get(key)
        if producer is not None and producer.feed.token == head.token:
            return producer.stop(Outcome.STOPPED)
        return head.ending is None and await self._log.stop(key)
