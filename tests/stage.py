"""One stream in process: its source, the server's side of its connection, and what came of it.

Nothing of ASGI is faked beyond a server's `receive` and `send`, which a test can make fail,
block or lose the client at any message.
"""

import asyncio
import random
import time
from itertools import pairwise

import anyio
import sniffio

from sse_asgi import EventStream, EventStreamDecoder, JSONFraming, Outcome, TextFraming
from tests.sources import cleaning_up

PIECES = ["a", "word ", "", "two\nlines", "cr\r", "\nlf", "[DONE]", "\u2028", "x" * 3_000, "\u20ac"]


class PlannedError(Exception):
    """What sources, hooks and servers raise in these tests."""


class Stage:
    """One stream with its random choices, the server's side of its connection, its record.

    A kind of end overrides the attributes that make it: what the source does after its chunks,
    what happens in the `fault_at`-th send, what goes on outside of the stream meanwhile.
    """

    def __init__(self, seed):
        self.seed = seed
        self.chance = random.Random(seed)
        self.rounds = 0
        self.framing = self.chance.choice([TextFraming(), JSONFraming()])
        self.chunks = self.chance.choices(PIECES, k=self.chance.randrange(12))
        self.options = {}
        self.source = self.generate
        self.outcome = Outcome.COMPLETED
        self.raises = None
        self.may_fail = False  # what ends it may cut a send, of which nobody knows what became
        self.after_chunks = self.in_finally = self.outside = do_nothing
        self.fault, self.fault_at, self.fault_fired = None, -1, False
        self.produced = []
        self.cleaned, self.cleans_up = None, {True}  # None: the source did not begin
        self.ended_by_itself = False  # then a stop may meet it in its `finally`
        self.transcripts, self.raised, self.cancelled = [], None, False
        self.cancel, self.in_scope = None, on_trio()
        self.messages, self.sends, self.body_came = [], 0, False
        self.gone = anyio.Event()

    # The source

    async def generate(self, request):
        self.cleaned = False
        try:
            for chunk in self.chunks:
                await self.wait_a_little()
                self.produced.append(chunk)
                yield chunk
            await self.after_chunks()
            self.ended_by_itself = True
        finally:
            with cleaning_up():
                await anyio.sleep(0)
            await self.in_finally()
            with cleaning_up():
                await anyio.sleep(0)
            self.cleaned = True

    async def generate_with_timeouts(self, request):
        self.cleaned = False
        try:
            while self.rounds > 0:
                self.rounds -= 1
                with anyio.move_on_after(self.chance.choice([0, 0.0005, 0.002])):
                    while True:
                        await self.wait_a_little()
                        self.produced.append(self.chance.choice(PIECES))
                        yield self.produced[-1]
            await self.after_chunks()
            self.ended_by_itself = True
        finally:
            with cleaning_up():
                await anyio.sleep(0)
            self.cleaned = True

    async def listen(self, chunk):
        await self.wait_a_little()

    def generate_in_thread(self, request):
        self.cleaned = False
        try:
            for chunk in self.chunks:
                time.sleep(self.chance.choice([0, 0.001]))
                self.produced.append(chunk)
                yield chunk
            if self.raises is not None:
                raise self.raises("in a thread")
        finally:
            self.cleaned = True

    async def wait_a_little(self):
        pause = self.chance.choice([None, None, 0, 0, 0.001])
        if pause is not None:
            await anyio.sleep(pause)

    # The server

    async def receive(self):
        if not self.body_came:
            self.body_came = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        number = self.sends
        self.sends += 1
        if number == self.fault_at:
            self.fault_fired = True
            await self.fault()
        self.messages.append(message)
        if self.chance.random() < 0.3:
            await anyio.sleep(0)

    async def leave(self):
        """Let the client go after a while."""
        for _ in range(self.chance.randrange(30)):
            await anyio.sleep(self.chance.choice([0, 0, 0, 0.001]))
        self.gone.set()

    # The record

    async def on_complete(self, transcript):
        self.transcripts.append(transcript)
        await anyio.sleep(0)

    def received(self):
        """Decode what was sent: the text, the other events, and whether the end marker came."""
        decoder, unframe = EventStreamDecoder(), self.framing.decoder()
        text, others, ended = "", [], False
        for message in self.messages[1:]:
            for event in decoder.feed(message["body"]):
                if event.type != "message":
                    others.append(event)
                    continue
                piece = unframe(event)
                ended = ended or piece is None
                text += piece or ""
        return text, others, ended


async def do_nothing():
    """Go on at once."""


def on_trio():
    return sniffio.current_async_library() == "trio"


def endless(stage):
    """Give chunks for longer than any test lasts."""
    while True:
        yield stage.chance.choice(PIECES)


async def live(stage):
    """Run one stream as a server does: in a task of its own, which the server may cancel."""
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": []}
    app = EventStream(
        stage.source, framing=stage.framing, on_complete=stage.on_complete, **stage.options
    )

    async def serve():
        try:
            await app(scope, stage.receive, stage.send)
        except Exception as error:
            stage.raised = error

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(stage.outside)
            await as_a_server(stage, serve)
            group.cancel_scope.cancel()


async def as_a_server(stage, serve):
    if stage.in_scope:
        with anyio.CancelScope() as scope:
            stage.cancel = scope.cancel
            await serve()
        was_cancelled = scope.cancelled_caught
    else:
        task = asyncio.create_task(serve())
        stage.cancel = task.cancel
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()
        was_cancelled = task.cancelled()
    assert was_cancelled is stage.cancelled or stage.may_fail


def check(stage, logged):
    """Check all that must be true of a stream, given the exceptions that were logged."""
    try:
        assert len(stage.transcripts) == 1
        cut_in_clean_up = stage.ended_by_itself or (stage.may_fail and stage.cancelled)
        assert stage.cleaned in {None, *stage.cleans_up} or cut_in_clean_up
        if stage.may_fail and stage.transcripts[0].outcome is Outcome.FAILED:
            stage.outcome, stage.raises = Outcome.FAILED, BaseException
        check_raised(stage)
        check_error(stage, stage.transcripts[0].error, logged)
        check_messages(stage)
        check_texts(stage, stage.transcripts[0])
    except AssertionError as error:
        error.add_note(f"{stage.seed}: {stage.transcripts}, raised {stage.raised!r}")
        raise


def check_raised(stage):
    """An exception is the framework's until the response has started, and nobody's after that."""
    if not stage.sends and stage.raises is not None:
        assert isinstance(stage.raised, stage.raises)
    elif stage.fault_at == 0 and stage.fault_fired and stage.raises is not None:
        assert stage.raised is None or isinstance(stage.raised, stage.raises)
    else:
        assert stage.raised is None


def check_error(stage, error, logged):
    if stage.outcome is Outcome.FAILED:
        assert isinstance(error, stage.raises)
        times = sum(each is error for each in logged)
        assert times == 1 or (stage.raised is error and times == 0)


def check_messages(stage):
    types = [message["type"].removeprefix("http.response.") for message in stage.messages]
    assert types == ["start"] * bool(types) + ["body"] * (len(types) - 1)
    ends = [not message["more_body"] for message in stage.messages[1:]]
    assert True not in ends[:-1]
    if stage.outcome is Outcome.COMPLETED:
        assert ends[-1]
    for earlier, later in pairwise(stage.messages):
        assert later is not earlier, "a message must not be sent twice"


def check_texts(stage, transcript):
    assert transcript.outcome is stage.outcome
    received, others, ended = stage.received()
    produced = stage.produced
    if stage.source == stage.generate_in_thread:  # its last step may have been left behind
        assert transcript.chunks >= len(produced) - 1
        produced = produced[: transcript.chunks]
    elif stage.may_fail and stage.outcome is not Outcome.COMPLETED:
        assert transcript.chunks >= len(produced) - 1  # what it gave when it was told of the cut
        produced = produced[: transcript.chunks]
    assert transcript.text == "".join(produced)
    assert transcript.chunks == len(produced)
    sent = "".join(produced[: transcript.sent_chunks])
    if isinstance(stage.framing, TextFraming):
        sent = sent.replace("\r\n", "\n").replace("\r", "\n")
    assert sent.startswith(received)
    if not stage.fault_fired:  # else the last message was not taken, whatever was asked for
        assert received == sent
    complete = stage.outcome is Outcome.COMPLETED
    assert ended is complete
    assert transcript.sent_chunks <= transcript.chunks
    if complete:
        assert transcript.sent_chunks == transcript.chunks
        assert transcript.error is None
    if stage.may_fail and (stage.gone.is_set() or stage.cancelled):
        assert [event.type for event in others] in ([], ["error"])  # nobody may be there to hear
    elif stage.outcome is Outcome.FAILED and not stage.fault_fired and stage.messages:
        assert [event.type for event in others] == ["error"]
        assert not stage.messages[-1]["more_body"]
    else:
        assert others == []


def living_tasks():
    if on_trio():
        import trio

        return trio.lowlevel.current_statistics().tasks_living
    return len(asyncio.all_tasks())
