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
from sse_asgi.headers import begins_event_stream, completed
from sse_asgi.host.host import current_host
from sse_asgi.host.loops import Handle
from sse_asgi.retrofit.inbox import Inbox
from sse_asgi.retrofit.text_reader import Position, TextReader
from sse_asgi.source.request import Request
from sse_asgi.stream.lifecycle import FINISHING, RUNNING, Cause
from sse_asgi.stream.options import Options
from sse_asgi.stream.outbox import Outbox
from sse_asgi.stream.stream import Stream
from sse_asgi.wire.outcome import Outcome

TURNS: Final = 4
"""Messages after which an app that never waits lets others run: asyncio logs a fifth in vain."""


class WrappedResponse(Stream):
    """The response of another app. It does nothing unless that is an event stream."""

    _active = False  # the response is an event stream
    _position: Position
    _reader: TextReader
    _blocked: Handle | None = None  # the app's `send`, which can be ended
    _messages = 0
    _unanswered: tuple[object, ...] | None = None  # of a cancellation that may be the server's

    def __init__(
        self, app: ASGIApp, options: Options, scope: Scope, receive: Receive, send: Send
    ) -> None:
        super().__init__(options, Request(scope), send)
        self._app = app
        self._server_send = send
        self._inbox = Inbox(receive)
        self._turn = anyio.Lock(fast_acquire=True)

    def error_for_server(self) -> BaseException | None:
        """Return what the server must hear of, or a cancellation that may be its own."""
        may_be_its_own = None if self._unanswered is None else CancelledError(*self._unanswered)
        return super().error_for_server() or may_be_its_own

    async def run(self) -> None:
        host = self.host
        with host.working():
            try:
                await self._app(self.request.scope, self._receive, self._send)
            except GeneratorExit:
                self.abort()
                raise
            except BaseException as error:
                if not (self.is_open or self.ends_elsewhere):
                    raise
                self._app_ended(error)
            else:
                self._app_ended(None)
        await self.conclude(host)

    @property
    def is_open(self) -> bool:
        """Whether there is an event stream, and something may still stop it."""
        return self._active and super().is_open

    # The app's end

    def _app_ended(self, error: BaseException | None) -> None:
        """Settle the outcome by what the app raised, if it did and the stream has not ended."""
        if self.ends_elsewhere or not self.is_open:
            return
        was_running = self.lifecycle.end_running()
        if self.lifecycle.phase is FINISHING:  # in the app's last message
            if error is not None and not isinstance(error, self.host.cancelled):
                self.lifecycle.settle(Outcome.FAILED, self.host.as_failure(error), by="source")
            self.lifecycle.last_message_cut(by="source" if error is None else "server")
        elif isinstance(error, self.host.cancelled):
            self._app_cancelled(error, was_running=was_running)
        elif self._inbox.client_left:  # the app may have seen it first
            self.sender.lose_client(Outcome.DISCONNECTED, by="client")
        elif error is None and self.lifecycle.shutting_down:  # some frameworks cut their streams
            self.lifecycle.settle(Outcome.SHUT_DOWN, by="shutdown")
        else:
            # An app that has been stopped may raise: that is its framework's way to end.
            error = error or RuntimeError("the app returned without ending its response")
            self.lifecycle.settle(Outcome.FAILED, self.host.as_failure(error), by="source")

    def _app_cancelled(self, error: BaseException, *, was_running: bool) -> None:
        if self.host.is_cancelled():
            self.host.keep(error)
            self.sender.lose_client(Outcome.SHUT_DOWN, by="server")
        elif was_running:
            # The server's, if a task group of anyio's has taken back what was counted; or the app's
            # own. Nobody knows, so it is raised again once the body has ended.
            self._unanswered = error.args if isinstance(error, CancelledError) else None
            self.lifecycle.settle(Outcome.SHUT_DOWN, by="server")

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
        has_to_cancel = self._has_returned or self.lifecycle.abandoned or not self._inbox.app_hears
        self._inbox.hang_up()
        if blocked is not None and not (has_to_cancel and self.host.cancels(blocked)):
            blocked.cancel()
        if has_to_cancel:
            self.host.cancel_work()

    async def watch(self) -> None:
        try:
            await self._inbox.watch()
            self.sender.lose_client(Outcome.DISCONNECTED, by="client")
        except BaseException as error:
            if not self.sender.receive_failed(error):
                raise

    def send_last_message(self) -> Awaitable[None]:
        return self.finish_body(self.final_body() if self._position.may_add else b"")

    def filler(self) -> bytes:
        return super().filler() if self._position.may_add else b""

    # The app's messages

    async def _receive(self) -> Message:
        try:
            return await self._inbox.receive()
        except Exception as error:
            if self.is_open:
                self.lifecycle.end_running()
                self.sender.receive_failed(error)
                self.lifecycle.cancel_soon()  # the app may catch this, and go on
            raise

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
        message = completed(message)
        readable = not any(name == b"content-encoding" for name, _ in message["headers"])
        has_hooks = (self.options.on_chunk, self.options.on_complete) != (None, None)
        self.outbox: Outbox = Outbox(self.options.framing.encoder())
        self._reader = TextReader(self.options.framing if readable and has_hooks else None)
        self._position = Position(readable=readable)
        self._active = True  # not before: what a user's framing raises above is the server's
        self.enter_shutdown()
        self.watch_client_and_clocks()
        await self._transmit(message)
        if not self.lifecycle.client_lost:
            # Some servers hold the headers back until the body begins.
            await self._transmit({"type": "http.response.body", "body": b"", "more_body": True})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            await self._transmit(message)
            return
        await self._record(message.get("body", b""))
        if self.lifecycle.phase is not RUNNING:  # the stream has been stopped meanwhile
            return
        if message.get("more_body", False):
            await self._transmit(message)
        else:
            await self._pass_on_last(message)

    async def _pass_on_last(self, message: Message) -> None:
        """Pass on the app's last message, and be done with the stream: the app may go on."""
        # Some servers tell of a disconnect because of the last message, before they have sent it.
        # An app that heard of it would cancel its own send.
        with self._inbox.holding_back():
            self.begin_finishing()
            if self.reports_early:
                await self._transmit({**message, "more_body": True})
                await self.report_early(self._own_end())
                message = {**message, "body": b""}
            if not message.get("body"):
                message = {**message, "body": self.filler()}
            await self._transmit(message)
        self.lifecycle.settle(self._own_end(), by="source")
        self.close()
        self.log_failure()
        await self.report()

    def _own_end(self) -> Outcome:
        """Return how the app itself ended its stream: its last event may say that it failed."""
        return Outcome.FAILED if self._reader.failed else Outcome.COMPLETED

    async def _transmit(self, message: Message) -> None:
        """Send for the app, after a keep-alive that is on its way; a lost client ends the wait."""
        self.lifecycle.sending_since = self.host.clock()
        try:
            with self.host.releasable() as self._blocked:
                if self.sender.task is not None:
                    await self.sender.next_drained()
                if not self.lifecycle.client_lost:
                    self._note_sent(message.get("body", b""))
                    await self.sender.transmit(message)
                    self._position.arrived()
                    self.lifecycle.end_sent = self._reader.ended
        except BaseException as error:
            if self.outbox.failed or not isinstance(error, OSError):
                if not isinstance(error, self.host.cancelled):
                    self._fail(error, by="framing" if self.outbox.failed else "server")
                raise
            self.lifecycle.sending_since = None  # nothing is to be cancelled
            self.sender.send_failed(error, in_background=False)
        finally:
            self._blocked = None
            self.lifecycle.sending_since = None
            self.lifecycle.cancel_soon()  # a stop that has waited for this, or come of it, goes on
        self.sender.open = self._position.may_add and self.lifecycle.phase is RUNNING

    def _note_sent(self, body: bytes) -> None:
        outbox, self.sender.open = self.outbox, False
        outbox.sent_chunks, outbox.unsent_chunks = outbox.sent_chunks + outbox.unsent_chunks, 0
        if body:
            outbox.begin_elsewhere()
        self._position.begin(body)

    async def _record(self, body: bytes) -> None:
        """Record what these bytes say, and tell `on_chunk`."""
        on_chunk, here = self.options.chunk_hook(self.request), self.host
        try:
            for item in self._reader.read(body):
                if not isinstance(item, str):
                    self.recorder.parts.append(item)
                    continue
                self.outbox.unsent_chunks += 1
                self.recorder.note_first()
                self.recorder.keep(item)
                told = None if on_chunk is None else on_chunk(item)
                if isawaitable(told):
                    here = current_host()  # it may be a task of the app's own
                    await told
        except BaseException as error:
            if not (isinstance(error, self.host.cancelled) and here.is_cancelled()):
                self._fail(error, by="hook")
            raise
        self.recorder.compact()

    def _fail(self, error: BaseException, *, by: Cause) -> None:
        if not isinstance(error, GeneratorExit):
            self.lifecycle.end_running()
            self.lifecycle.settle(Outcome.FAILED, self.host.as_failure(error), by=by)
            self.lifecycle.cancel_soon()  # the app may catch this, and go on
