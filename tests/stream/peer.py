"""The other end of a stream in these tests: a server and a client that do as they are told."""

import contextlib
import logging
import time

import anyio

from sse_asgi import EventStream, EventStreamDecoder, TextFraming

PATIENCE = 8.0
"""Seconds after which something that must happen counts as lost."""

BODY = "http.response.body"
START = "http.response.start"
KEEP_ALIVE = b": keep-alive\n"
DISCONNECT = {"type": "http.disconnect"}


def http_scope(**fields):
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": [],
        **fields,
    }


class _Handler(logging.Handler):
    def __init__(self, records):
        super().__init__()
        self.records = records

    def emit(self, record):
        self.records.append(record)


@contextlib.contextmanager
def logged_into(records):
    """Keep every record of the library's logger in this list, for the length of the block."""
    logger, handler = logging.getLogger("sse_asgi"), _Handler(records)
    logger.addHandler(handler)
    try:
        yield records
    finally:
        logger.removeHandler(handler)


def logged_errors(records):
    """Return the exceptions that were logged at ERROR, each with its traceback."""
    return [
        record.exc_info[1]
        for record in records
        if record.levelno == logging.ERROR and record.exc_info and record.exc_info[1]
    ]


class Peer:
    """One request to an app: `async with` runs it, and waits for its end.

    `send` keeps every message with its times, and holds the app to the rules of ASGI: one send
    at a time, first the start, nothing after the end. `on_send` is awaited in each send, before
    the message counts as sent: there it can block or fail.
    """

    def __init__(self, app, *, body=(b"",), on_send=None, **scope):
        self.app = app
        self.scope = http_scope(**scope)
        self.on_send = on_send
        self.messages, self.times = [], []
        self.attempts = 0
        self.broken_rules = []
        self.raised = None
        self.log = []
        self.ended = False
        self._parts = list(body)
        self._sending = False
        self.closed = False  # by the last body message
        self._gone = False
        self._changed = anyio.Event()

    # The server

    async def receive(self):
        if self._parts:
            part = self._parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self._parts)}
        await self.until(lambda: self._gone, patience=None)
        return dict(DISCONNECT)

    async def send(self, message):
        self._check(message)
        began = time.monotonic()
        self._sending = True
        self.attempts += 1
        self._notify()
        try:
            if self.on_send is not None:
                await self.on_send(message)
            self.messages.append(message)
            self.closed |= message["type"] == BODY and not message["more_body"]
            self.times.append((began, time.monotonic()))
        finally:
            self._sending = False
            self._notify()

    def _check(self, message):
        if self._sending:
            self.broken_rules.append(f"{message} while another send goes on")
        if (message["type"] == START) != (not self.attempts):
            self.broken_rules.append(f"{message} as message {self.attempts}")
        if self.closed or self.ended:
            self.broken_rules.append(f"{message} after the end")

    # The client

    def leave(self):
        self._gone = True
        self._notify()

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def headers(self):
        return self.messages[0]["headers"]

    @property
    def bodies(self):
        return [message["body"] for message in self.messages if message["type"] == BODY]

    @property
    def body(self):
        return b"".join(self.bodies)

    @property
    def events(self):
        return EventStreamDecoder().feed(self.body)

    @property
    def failure(self):
        """What failed the stream: not raised into the server, but logged once, and nothing else."""
        assert self.raised is None, "nothing is raised once the response has started"
        (error,) = logged_errors(self.log)
        return error

    def forget(self):
        """Drop the exceptions that the test knows of: their tracebacks hold whoever is in them."""
        self.raised = None
        self.log.clear()
        for handler in logging.getLogger().handlers:  # pytest's own keep records, too
            getattr(handler, "records", []).clear()

    @property
    def text(self):
        """What the client reads of the source's text."""
        decode = TextFraming().decoder()
        return "".join(decode(event) or "" for event in self.events if event.type == "message")

    # The test

    async def until(self, condition, *, patience=PATIENCE):
        """Wait for a condition; it is looked at whenever something happens here."""
        with anyio.fail_after(patience):
            while not condition():
                await self._changed.wait()

    async def received(self, part):
        await self.until(lambda: part in self.body)

    def _notify(self):
        self._changed.set()
        self._changed = anyio.Event()

    async def run(self):
        try:
            with logged_into(self.log):
                await self.app(self.scope, self.receive, self.send)
        except Exception as error:
            self.raised = error
        finally:
            self.ended = True
            self._notify()

    async def __aenter__(self):
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self.run)
        return self

    async def __aexit__(self, kind, error, traceback):
        try:
            if error is None:
                await self.until(lambda: self.ended)
        finally:
            self._tasks.cancel_scope.cancel()
            await self._tasks.__aexit__(None, None, None)
        assert error is not None or not self.broken_rules, self.broken_rules


class Record(list):
    """An `on_complete` that keeps the transcripts."""

    async def __call__(self, transcript):
        await anyio.sleep(0)
        self.append(transcript)

    @property
    def only(self):
        (transcript,) = self
        return transcript


class Block:
    """An `on_send` that blocks in the messages with this text, until it is opened."""

    def __init__(self, *parts):
        self.parts = parts
        self.reached = anyio.Event()
        self.opened = anyio.Event()
        self.cancelled = False

    async def __call__(self, message):
        if any(part in message.get("body", b"start") for part in self.parts):
            self.reached.set()
            try:
                await self.opened.wait()
            except BaseException:
                self.cancelled = True
                raise


async def soon(event):
    """Wait for an event that must come."""
    with anyio.fail_after(PATIENCE):
        await event.wait()


async def seconds_of_shutdown(app, block, shutdown):
    """Begin a shutdown while a send of the app hangs in this block; return what it takes."""
    with anyio.fail_after(3):
        async with Peer(app, on_send=block):
            await soon(block.reached)
            await anyio.wait_all_tasks_blocked()
            began = time.monotonic()
            shutdown.begin()
    return time.monotonic() - began


async def run(source, *, peer=None, **options):
    """Serve a source to its end, and return the peer and the transcript."""
    record = Record()
    async with Peer(EventStream(source, on_complete=record, **options), **(peer or {})) as other:
        pass
    return other, record.only
