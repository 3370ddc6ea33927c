"""The event stream of another app, on its way to the server.

Its bytes never change. They are read for two things: where an event ends, for only there may a
keep-alive or the last message go; and, if there are hooks, what they say.
"""

from asyncio import CancelledError
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Final

import anyio
import anyio.lowlevel

from sse_asgi.asgi import ASGIApp, Message, Receive, Scope, Send
from sse_asgi.host.loops import Handle
from sse_asgi.retrofit.headers import begins_event_stream, completed
from sse_asgi.retrofit.inbox import Inbox
from sse_asgi.retrofit.text_reader import Position, TextReader
from sse_asgi.source.request import Request
from sse_asgi.stream.lifecycle import FINISHING, RUNNING
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.stream import Stream
from sse_asgi.wire.outcome import Outcome

TURNS: Final = 4
"""Messages after which an app that never waits lets others run: asyncio logs a fifth in vain."""


class WrappedResponse(Stream):
    """The response of another app. It does nothing unless that is an event stream."""

    _active = False  # the response is an event stream
    _readable = True  # its body is not compressed
    _reader: TextReader | None = None
    _blocked: Handle | None = None  # the app's `send`, which can be ended
    _is_whole = True  # the message that was sent last, or was cut, holds whole events
    _messages = 0
    _unanswered: tuple[object, ...] | None = None  # of a cancellation that may be the server's

    def __init__(
        self, app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        super().__init__(options, Request(scope), send)
        self._app = app
        self._server_send = send
        self._inbox = Inbox(receive)
        self._position = Position()
        self._turn = anyio.Lock(fast_acquire=True)

    def error_for_server(self) -> BaseException | None:
        """Return a cancellation that may be the server's."""
        self.lifecycle.error = None  # its traceback may hold this stream
        return None if self._unanswered is None else CancelledError(*self._unanswered)

    async def work(self) -> None:
        """Call the app."""
        try:
            await self._app(self.request.scope, self._inbox.receive, self._send)
        except BaseException as error:  # noqa: BLE001 - judged there
            self._app_raised(error)
        else:
            self._app_returned()

    @property
    def is_open(self) -> bool:
        """Whether there is an event stream, and something may still stop it."""
        return self._active and super().is_open

    # The app's end

    def _app_raised(self, error: BaseException) -> None:
        """Settle the outcome by what the app raised; raise what is the server's alone."""
        if self.ends_elsewhere and not isinstance(error, GeneratorExit):
            return  # the stream has ended without it
        if not self.is_open or isinstance(error, GeneratorExit):
            raise error
        was_running = self.lifecycle.end_running()
        if self.lifecycle.phase is FINISHING:  # the app's last message
            if isinstance(error, Exception):
                self.lifecycle.settle(Outcome.FAILED, error, by="server")
            self.lifecycle.last_message_cut()
            return
        if not isinstance(error, self.host.cancelled):
            self._app_failed(error)
        elif self.host.is_cancelled():
            self.host.keep(error)
            self.sender.lose(Outcome.SHUT_DOWN, by="server")
        elif was_running:
            # The server's, if a task group of anyio's has taken back what was counted; or the app's
            # own. Nobody knows, so it is raised again once the body has ended.
            self._unanswered = error.args if isinstance(error, CancelledError) else None
            self.lifecycle.settle(Outcome.SHUT_DOWN, by="server")

    def _app_failed(self, error: BaseException) -> None:
        if self._inbox.client_left:  # the app may have seen it first
            self.sender.lose(Outcome.DISCONNECTED, by="client")
        else:
            # An app that has been stopped may raise: that is its framework's way to end.
            self.lifecycle.settle(Outcome.FAILED, self.host.as_failure(error), by="source")

    def _app_returned(self) -> None:
        """Settle the outcome of a stream that the app has left without its end."""
        if not self.is_open:
            return
        self.lifecycle.end_running()
        if self.lifecycle.phase is FINISHING:  # the app has cut its own last message
            self.lifecycle.last_message_cut(by="source")
            return
        if self._inbox.client_left:
            self.sender.lose(Outcome.DISCONNECTED, by="client")
        elif self.lifecycle.shutting_down:  # some frameworks cut their streams at once
            self.lifecycle.settle(Outcome.SHUT_DOWN, by="shutdown")
        else:
            error = RuntimeError("the app returned without ending its response")
            self.lifecycle.settle(Outcome.FAILED, error, by="source")

    # Stopping

    def cancel(self) -> None:
        """End the app: by telling it that its client has left, or else by a cancellation."""
        blocked = self._blocked
        if self.lifecycle.phase is FINISHING:
            self.lifecycle.last_message_cut()
            if blocked is not None:
                blocked.cancel()  # the app's last message
            else:
                self.host.cancel_work()  # ours
            return
        hears = self._inbox.listeners > 0 or self._inbox.heard
        self._inbox.hang_up()
        has_to_cancel = self.lifecycle.abandoned or not hears
        if blocked is not None and not (has_to_cancel and self.host.cancels(blocked)):
            blocked.cancel()
        if has_to_cancel:
            self.host.cancel_work()

    def watch(self) -> Awaitable[None]:
        """Return what waits until the client has left."""
        return self._inbox.watch()

    def send_last_message(self) -> Awaitable[None]:
        """End the body in the app's place; raises what `send` raises."""
        return self.finish_body(self.final_body() if self._may_add() else b"")

    def filler(self) -> bytes:
        """Return a comment for a last message without bytes, where that is allowed."""
        return super().filler() if self._may_add() else b""

    # The app's messages

    async def _send(self, message: Message) -> None:
        if self.ends_elsewhere:  # the app goes on, and the stream has ended without it
            await anyio.lowlevel.checkpoint()
        elif not self._active and begins_event_stream(message):
            await self._begin(message)
        elif not self.is_open:  # no event stream, or what follows its end
            await self._server_send(message)
        else:
            async with self._turn:  # an app may send from several tasks
                self._messages += 1
                if self._messages % TURNS == 0 or self.lifecycle.phase is not RUNNING:
                    await anyio.lowlevel.checkpoint()  # first: what is cancelled is not sent
                if self.lifecycle.phase is RUNNING:  # else nobody hears any more
                    await self._pass_on(message)

    async def _begin(self, message: Message) -> None:
        fields = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
        self._readable = not any(name == b"content-encoding" for name, _ in fields)
        self.outbox: Outbox = Outbox(self.options.framing.encoder())
        hooks = (self.options.on_chunk, self.options.on_complete)
        if self._readable and hooks != (None, None):
            self._reader = TextReader(self.options.framing)
        self._active = True  # from here on: what a user's framing raised is the server's to answer
        self.enter_shutdown()
        self.start_watching()
        await self._transmit({**message, "headers": completed(fields)})
        if not self.lifecycle.client_lost:
            # Some servers hold the headers back until the body begins.
            await self._transmit({"type": "http.response.body", "body": b"", "more_body": True})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            await self._transmit(message)
            return
        texts = await self._record(message.get("body", b""))
        if self.lifecycle.phase is not RUNNING:  # the stream has been stopped meanwhile
            return
        if message.get("more_body", False):
            await self._transmit(message, texts)
        else:
            await self._pass_on_last(message, texts)

    async def _pass_on_last(self, message: Message, texts: int) -> None:
        """Pass on the app's last message, and be done with the stream: the app may go on."""
        # Some servers tell of a disconnect because of the last message, before they have sent it.
        # An app that heard of it would cancel its own send.
        self._inbox.holding = True
        try:
            self.begin_finishing()
            if self.reports_early:
                await self._transmit({**message, "more_body": True}, texts)
                await self.report_early(self._own_end())
                message, texts = {**message, "body": b""}, 0
            if not message.get("body"):
                message = {**message, "body": self.filler()}
            await self._transmit(message, texts)
        finally:
            self._inbox.let_go()
        self.lifecycle.settle(self._own_end(), by="source")
        self.close()
        self.log_failure()
        await self.report()

    def _own_end(self) -> Outcome:
        """Return how the app itself ended its stream: its last event may say that it failed."""
        failed = self._reader is not None and self._reader.failed
        return Outcome.FAILED if failed else Outcome.COMPLETED

    async def _transmit(self, message: Message, texts: int = 0) -> None:
        """Send for the app, after a keep-alive that is on its way; a lost client ends the wait."""
        has_left = False
        self.lifecycle.sending_since = self.host.clock()
        try:
            with self.host.releasable() as self._blocked:
                await self.sender.drain()
                if not self.lifecycle.client_lost:
                    self._note_sent(message.get("body", b""), texts)
                    await self.sender.transmit(message)
                    self._is_whole = True
                    self.lifecycle.end_sent = self._reader is not None and self._reader.ended
        except OSError:
            has_left = True
        finally:
            self._blocked = None
            self.lifecycle.sending_since = None
            self.lifecycle.cancel_soon()  # a stop that has waited for this goes on
        self.sender.open = self._may_add() and self.lifecycle.phase is RUNNING
        if has_left:
            self.lifecycle.end_running()
            self.sender.has_failed(Outcome.DISCONNECTED, None, by="client")
            self.lifecycle.cancel_soon()  # once the app's task waits

    def _note_sent(self, body: bytes, texts: int) -> None:
        self.sender.open = False
        self.outbox.unsent_chunks -= texts
        self.outbox.sent_chunks += texts
        if body:
            self.outbox.begin_elsewhere()
        self._is_whole = self._position.between_events
        self._position.move(body)
        self._is_whole = self._is_whole and self._position.between_events

    def _may_add(self) -> bool:
        """Tell whether something of ours may come after the app's last bytes."""
        return self._readable and self._is_whole and self._position.between_events

    async def _record(self, body: bytes) -> int:
        """Record what these bytes say, and tell `on_chunk`; return the number of text chunks."""
        found = [] if self._reader is None else self._reader.read(body)
        on_chunk = self.options.chunk_hook(self.request)
        texts = 0
        try:
            for item in found:
                if not isinstance(item, str):
                    self.recorder.parts.append(item)
                    continue
                texts += 1
                self.outbox.unsent_chunks += 1
                self.recorder.note_first()
                self.recorder.keep(item)
                told = None if on_chunk is None else on_chunk(item)
                if isawaitable(told):
                    await told
        except Exception as error:
            self.lifecycle.end_running()
            self.lifecycle.settle(Outcome.FAILED, error, by="hook")
            self.lifecycle.cancel_soon()  # the app may catch this, and go on
            raise
        self.recorder.compact()
        return texts
