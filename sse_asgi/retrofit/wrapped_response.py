"""The passage: the event stream of another app, on its way to the server.

The app's bytes are never changed. They are looked at for two things: where an event ends, for
only there may a keep-alive or the last words go in between; and, if there are hooks, which text
they carry.
"""

import logging
from asyncio import CancelledError
from collections.abc import Awaitable
from inspect import isawaitable
from typing import Final

import anyio.lowlevel

from sse_asgi.asgi import ASGIApp, Message, Receive, Scope, Send
from sse_asgi.stream.ending import Ending, LineT
from sse_asgi.stream.inbox import Inbox
from sse_asgi.stream.passage_headers import begins_event_stream, completed
from sse_asgi.stream.transcript import Outcome
from sse_asgi.wire.decoder import EventStreamDecoder
from sse_asgi.wire.framing import Framing

TURNS: Final = 4
"""Messages after which an app that never waits lets others run.

After a fifth for a connection that is lost, asyncio's transports log each of them.
"""

_EVENT_ENDS = (b"\n\n", b"\r\r", b"\n\r\n")

_logger = logging.getLogger("sse_asgi")


class Passage(Ending[LineT]):
    """One request that another app answers; it does nothing unless with an event stream.

    Attributes:
        inbox: The server's messages to the app.
        says_last_words: The app has ended, or has been ended, and the last message is ours.
    """

    def __init__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        self.inbox = Inbox(receive)
        self._app = app
        self._scope = scope
        self._server_send = send
        self.says_last_words = False
        self._active = False  # the response is an event stream
        self._readable = True  # its body is not compressed
        self._messages = 0
        self._position = Position()
        self._reader: TextReader | None = None
        self._marker_sent = False  # the framing's end marker; clients leave at it
        self._late_error: BaseException | None = None

    @property
    def http2(self) -> bool:
        """Whether the connection is one of HTTP/2."""
        return bool(self._scope.get("http_version") == "2")

    async def work(self) -> None:
        """Let the app answer."""
        await self._app(self._scope, self.inbox.receive, self._send)

    async def watch(self) -> None:
        """Return when the client has left."""
        await self.inbox.watch()

    async def conclude(self) -> None:
        """Say the last words and close the body, if anybody is there to hear them."""
        if not self._active or self.closed or self.line.given_up:
            return
        self.says_last_words = True
        words = self.last_words() if self._may_add() else b""
        await self.send_last(words, 0)

    def settle(self, outcome: Outcome, error: BaseException | None = None) -> bool:
        """Say how the stream ended: a client that leaves after the end marker has had it all."""
        if outcome is Outcome.DISCONNECTED and self._marker_sent:
            outcome = Outcome.COMPLETED
        return super().settle(outcome, error)

    def report(self) -> Awaitable[object] | None:
        """Call `on_complete`, if there was an event stream."""
        return super().report() if self._active else None

    def filler(self) -> bytes:
        """Return a comment for a last message that would carry nothing, where one must."""
        return super().filler() if self._may_add() else b""

    def judge(self, error: BaseException | None, *, cancelled: bool) -> None:
        """Settle by the way in which the app ended."""
        if not self._active or self.closed:
            self._late_error = error
        elif cancelled or (isinstance(error, CancelledError) and self.outcome is None):
            # By the server: anyio's task groups may have taken back what was counted.
            self.lose_line(Outcome.SHUT_DOWN)
        elif self.inbox.client_left:  # the app may have seen it first
            self.lose_line(Outcome.DISCONNECTED)
        elif error is None and self.stopping:  # some frameworks cut their streams at once
            self.settle(Outcome.SHUT_DOWN)
        else:
            # An app that has been stopped may raise: that is its framework's way to end.
            error = error or RuntimeError("the app returned without ending its response")
            self.settle(Outcome.FAILED, error)

    def due_error(self) -> BaseException | None:
        """Return what the server must be told of: also what came after the end of the stream."""
        late_error, self._late_error = self._late_error, None
        return late_error or super().due_error()

    def give_up_last_message(self, outcome: Outcome) -> None:
        """End the app, whose last message is still on its way, for this reason."""
        if not self.closed:
            self.lose_line(outcome)
            self.cancel_work()

    def hang_up(self) -> bool:
        """Tell the app that the client is gone. True if it hears that, and will end by itself."""
        heard = self.inbox.listeners > 0 or self.inbox.heard
        self.inbox.hang_up()
        return heard

    async def _send(self, message: Message) -> None:
        if not self._active and begins_event_stream(message):
            await self._begin(message)
        elif not self._active or self.closed:  # what may follow the end
            await self._server_send(message)
        else:
            await self._let_others_run()
            if self.outcome is None:  # else it has been ended, and nobody hears any more
                await self._pass_on(message)

    async def _let_others_run(self) -> None:
        """Let others have a turn every few messages, and with each once it has been ended."""
        self._messages += 1
        if self._messages % TURNS == 0 or self.outcome is not None:
            await anyio.lowlevel.checkpoint()  # before the message: what is cancelled is not sent

    async def _begin(self, message: Message) -> None:
        self._active = True
        fields = [(bytes(name).lower(), bytes(value)) for name, value in message["headers"]]
        self._readable = not any(name == b"content-encoding" for name, _ in fields)
        hooks = (self.options.on_chunk, self.options.on_complete)
        if self._readable and hooks != (None, None):
            self._reader = TextReader(self.options.framing)
        self.enter_shutdown()
        self.start_watching()
        if await self._transmit({**message, "headers": completed(fields)}):
            # Some servers hold the headers back until the body begins.
            await self._transmit({"type": "http.response.body", "body": b"", "more_body": True})

    async def _pass_on(self, message: Message) -> None:
        if message["type"] != "http.response.body":
            await self._transmit(message)
            return
        body = message.get("body", b"")
        ends = not message.get("more_body", False)
        self.line.open = False
        text_chunks = await self._record(body)
        if self.outcome is not None:  # it has been ended meanwhile
            return
        self._position.move(body)  # only now: if the hook has raised, it is not sent
        self.concluding = ends
        if not ends:
            await self._transmit(message, text_chunks)
            return
        # Some servers tell of a disconnect because of the last message, before they have sent
        # it. An app that heard of it would cancel its own send.
        self.inbox.holding = True
        try:
            await self._pass_on_last(message, text_chunks)
        finally:
            self.inbox.let_go()

    async def _pass_on_last(self, message: Message, text_chunks: int) -> None:
        if self.reports_early:
            await self._transmit({**message, "more_body": True}, text_chunks)
            if self.settle(self._own_end()):
                self.line.open = False
                await self.report_now()
            message, text_chunks = {**message, "body": b""}, 0
        if self.stopping and not message.get("body"):
            message = {**message, "body": self.filler()}
        await self._transmit(message, text_chunks)
        await self._finish()

    async def _finish(self) -> None:
        """Be done with the stream, if the app has ended it; the app may go on for long."""
        end = self._own_end()
        self.settle(end)
        if self.outcome is end:
            self.close()
            await self.report_now()
            self.leave_shutdown()

    def _own_end(self) -> Outcome:
        """Return how the app itself ended its stream: its last event may say that it failed."""
        failed = self._reader is not None and self._reader.ended_with_error
        return Outcome.FAILED if failed else Outcome.COMPLETED

    async def _transmit(self, message: Message, text_chunks: int = 0) -> bool:
        if self.line.given_up:
            return False
        try:
            await self.line.transmit(message, text_chunks)
        except OSError:
            self.lose_line(Outcome.DISCONNECTED)
            self.inbox.hang_up()
            return False
        self.line.open = self._may_add() and not self.line.given_up
        self._marker_sent = self._reader is not None and self._reader.ended
        return True

    def _may_add(self) -> bool:
        """Tell whether something of ours may come next, after the app's last bytes."""
        return self._readable and self._position.between_events

    async def _record(self, body: bytes) -> int:
        texts = () if self._reader is None else self._reader.read(body)
        try:
            for text in texts:
                self.recorder.take(text)
                if self.options.on_chunk is not None:
                    result = self.options.on_chunk(text)
                    if isawaitable(result):
                        await result
        except Exception as error:
            self.settle(Outcome.FAILED, error)
            raise
        return len(texts)


class Position:
    """Where in an event stream its bytes have come to.

    Attributes:
        between_events: An event has just ended, or none has begun. When in doubt, not.
    """

    def __init__(self) -> None:
        self.between_events = True
        self._tail = b""

    def move(self, body: bytes) -> None:
        """Go on by these bytes."""
        if body:
            self._tail = (self._tail + body[-3:])[-3:]
            comment = body[:1] == b":" and body.find(b"\n") == len(body) - 1 and b"\r" not in body
            self.between_events = self._tail.endswith(_EVENT_ENDS) or (
                self.between_events and comment
            )


class TextReader:
    """Reads the text out of an event stream as it passes, through a framing.

    What it cannot read it leaves be, from there on, and logs that: the stream itself is fine.

    Attributes:
        ended: The framing's end marker has come.
        ended_with_error: The last event up to now was one of type `error`.
    """

    def __init__(self, framing: Framing) -> None:
        self._decoder = EventStreamDecoder()
        self._decode = framing.decoder()
        self._broken = False
        self.ended = False
        self.ended_with_error = False

    def read(self, body: bytes) -> list[str]:
        """Return the texts of the events that these bytes complete."""
        if self._broken:
            return []
        try:
            events = self._decoder.feed(body)
            texts = [self._decode(event) for event in events]
        except Exception as error:  # noqa: BLE001 - a user's framing may raise anything
            self._broken = True
            _logger.warning("an event stream is not transcribed further: %s", type(error).__name__)
            return []
        if events:
            self.ended = self.ended or None in texts
            self.ended_with_error = events[-1].type == "error"
        return [text for text in texts if text]
