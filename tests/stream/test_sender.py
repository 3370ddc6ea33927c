"""The two clocks of a line: keep-alives in silence, and a deadline on every send."""

import itertools
import time

import anyio
import pytest

from sse_asgi import EventStream, Outcome, TextFraming
from sse_asgi.wire.text_framing import TextEncoder
from tests.sources import cleaning_up
from tests.stream.peer import BODY, KEEP_ALIVE, PATIENCE, Block, Peer, Record, logged_errors, soon

pytestmark = pytest.mark.anyio


def keep_alives(peer):
    return [number for number, m in enumerate(peer.messages) if m.get("body") == KEEP_ALIVE]


async def idle(request):
    yield "a"
    await anyio.sleep_forever()


class TestKeepAlive:
    async def test_goes_out_in_silence_again_and_again(self):
        async with Peer(EventStream(idle, heartbeat=0.03)) as peer:
            await peer.until(lambda: len(keep_alives(peer)) >= 4)
            peer.leave()
        for number in keep_alives(peer):
            silence = peer.times[number][0] - peer.times[number - 1][1]
            assert silence >= 0.03 - 0.002

    async def test_goes_out_while_the_framing_makes_nothing_of_chunks(self):
        class MuteEncoder(TextEncoder):
            def text(self, chunks):
                return b""

        class Framing(TextFraming):
            def encoder(self):
                return MuteEncoder(self.done)

        async def source(request):
            while not keep_alives(peer):
                yield "held back"
                await anyio.sleep(0.002)

        async with Peer(EventStream(source, heartbeat=0.02, framing=Framing())) as peer:
            pass
        assert keep_alives(peer)

    async def test_goes_out_before_the_first_chunk(self):
        async def source(request):
            await peer.received(KEEP_ALIVE)
            yield "a"

        async with Peer(EventStream(source, heartbeat=0.02)) as peer:
            pass
        assert peer.text == "a"

    async def test_goes_out_while_the_source_is_made(self):
        async def source(request):
            await peer.received(KEEP_ALIVE)
            return ["a"]

        async with Peer(EventStream(source, heartbeat=0.02)) as peer:
            pass
        assert peer.text == "a"

    @pytest.mark.matrix("anyio_backend")
    async def test_only_after_silence(self):
        async def source(request):
            for _ in range(100):
                yield "a"
                await anyio.sleep(0.003)

        async with Peer(EventStream(source, heartbeat=0.05)) as peer:
            pass
        for number in keep_alives(peer):  # a busy machine may make silence of a pause
            assert peer.times[number][0] - peer.times[number - 1][1] >= 0.05 - 0.002
        assert len(keep_alives(peer)) < 50

    async def test_none_yielded_is_silence(self):
        async def source(request):
            while not keep_alives(peer):
                yield None
                await anyio.sleep(0.005)

        async with Peer(EventStream(source, heartbeat=0.03)) as peer:
            pass
        assert keep_alives(peer)

    async def test_none_turns_it_off(self):
        async def source(request):
            await anyio.sleep(0.1)
            yield "a"

        async with Peer(EventStream(source, heartbeat=None)) as peer:
            pass
        assert peer.body == b"data: a\n\ndata: [DONE]\n\n"

    async def test_never_beside_a_send_that_blocks(self):
        """The peer counts two sends at once as a broken rule."""
        block = Block(b"data: a")
        async with Peer(EventStream(idle, heartbeat=0.01), on_send=block) as peer:
            await soon(block.reached)
            await anyio.sleep(0.08)
            block.opened.set()
            await peer.until(lambda: keep_alives(peer))
            peer.leave()

    async def test_a_chunk_waits_for_a_keep_alive_that_blocks(self):
        block, record = Block(KEEP_ALIVE), Record()

        async def source(request):
            await block.reached.wait()
            yield "a"
            await anyio.sleep(0)
            yield "b"

        app = EventStream(source, heartbeat=0.01, on_complete=record)
        async with Peer(app, on_send=block) as peer:
            await soon(block.reached)
            await anyio.wait_all_tasks_blocked()
            block.opened.set()
        assert peer.text == "ab"
        assert record.only.sent_chunks == 2

    async def test_the_end_waits_for_a_keep_alive_that_blocks(self):
        block = Block(KEEP_ALIVE)

        async def source(request):
            await block.reached.wait()
            return
            yield

        async with Peer(EventStream(source, heartbeat=0.01), on_send=block) as peer:
            await soon(block.reached)
            await anyio.wait_all_tasks_blocked()
            assert not peer.closed
            block.opened.set()
        assert peer.body == KEEP_ALIVE + b"data: [DONE]\n\n"

    @pytest.mark.parametrize("error", [OSError("pipe"), RuntimeError("server")])
    @pytest.mark.parametrize("waiting", [False, True], ids=["idle", "a chunk waits behind it"])
    async def test_that_fails_ends_the_stream(self, error, waiting):
        record, cleaned, reached, go = Record(), [], anyio.Event(), anyio.Event()

        async def on_send(message):
            if message.get("body") == KEEP_ALIVE:
                reached.set()
                await go.wait()
                raise error

        async def source(request):
            try:
                if waiting:
                    await reached.wait()
                    yield "a"
                await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    await anyio.sleep(0)
                cleaned.append(1)

        app = EventStream(source, heartbeat=0.02, on_complete=record)
        async with Peer(app, on_send=on_send) as peer:
            await soon(reached)
            await anyio.wait_all_tasks_blocked()
            go.set()
        failed = isinstance(error, RuntimeError)
        assert cleaned == [1]
        assert record.only.outcome is (Outcome.FAILED if failed else Outcome.DISCONNECTED)
        assert record.only.sent_chunks == 0
        assert peer.raised is None
        assert logged_errors(peer.log) == ([error] if failed else [])
        assert peer.attempts == len(peer.messages) + 1

    async def test_that_blocks_for_ever_is_given_up_when_the_client_leaves(self):
        block, record = Block(KEEP_ALIVE), Record()
        app = EventStream(idle, heartbeat=0.02, on_complete=record)
        async with Peer(app, on_send=block) as peer:
            await soon(block.reached)
            peer.leave()
        await anyio.sleep(0)
        assert block.cancelled
        assert record.only.outcome is Outcome.DISCONNECTED


class TestSendTimeout:
    @pytest.mark.parametrize("part", [b"start", b"data: a", b"[DONE]", KEEP_ALIVE])
    async def test_a_send_that_takes_longer_ends_the_stream(self, part):
        block, record, cleaned = Block(part), Record(), []

        async def source(request):
            try:
                yield "a"
                if part != b"[DONE]":
                    await anyio.sleep_forever()
            finally:
                with cleaning_up():
                    await anyio.sleep(0)
                cleaned.append(1)

        app = EventStream(source, send_timeout=0.05, heartbeat=0.02, on_complete=record)
        began = time.monotonic()
        async with Peer(app, on_send=block) as peer:
            pass
        assert 0.04 < time.monotonic() - began < 4
        assert block.cancelled
        assert record.only.outcome is Outcome.TIMED_OUT
        assert cleaned == [1]
        assert peer.raised is None
        assert peer.attempts == len(peer.messages) + 1

    async def test_the_first_empty_body_has_it_too(self):
        record = Record()

        async def on_send(message):
            if message["type"] == BODY:
                await anyio.sleep_forever()

        app = EventStream(idle, send_timeout=0.05, on_complete=record)
        async with Peer(app, on_send=on_send) as peer:
            pass
        assert record.only.outcome is Outcome.TIMED_OUT
        assert peer.raised is None

    async def test_the_last_send_with_the_error_event_has_it_too(self):
        record = Record()

        async def source(request):
            yield "a"
            raise LookupError

        app = EventStream(source, send_timeout=0.05, on_complete=record)
        async with Peer(app, on_send=Block(b"event: error")) as peer:
            pass
        assert record.only.outcome is Outcome.FAILED
        assert isinstance(peer.failure, LookupError)

    async def test_many_slow_sends_within_it_are_fine(self):
        async def on_send(message):
            await anyio.sleep(0.01)

        async def source(request):
            for _ in range(30):
                yield "a"
                await anyio.sleep(0)

        record = Record()
        app = EventStream(source, send_timeout=2, heartbeat=0.02, on_complete=record)
        async with Peer(app, on_send=on_send) as peer:
            pass
        assert record.only.outcome is Outcome.COMPLETED
        assert peer.text == "a" * 30

    @pytest.mark.matrix("anyio_backend")
    async def test_silence_of_the_source_is_not_the_clients(self):
        async def source(request):
            yield "a"
            await anyio.sleep(0.15)
            yield "b"

        async with Peer(EventStream(source, send_timeout=0.05, heartbeat=None)) as peer:
            pass
        assert peer.text == "ab"

    async def test_none_waits_for_ever(self):
        block = Block(b"data: a")
        async with Peer(EventStream(["a"], send_timeout=None), on_send=block) as peer:
            await soon(block.reached)
            await anyio.sleep(0.1)
            block.opened.set()
        assert peer.text == "a"


@pytest.mark.matrix("anyio_backend")
async def test_all_times_of_keep_alives_and_sends_are_apart():
    """Chunks and keep-alives at the same moments, through a slow line: never two at once."""

    async def on_send(message):
        await anyio.sleep(0.002)

    async def source(request):
        for pause in itertools.islice(itertools.cycle([0.009, 0.01, 0.011]), 30):
            yield "a"
            await anyio.sleep(pause)

    async with Peer(EventStream(source, heartbeat=0.01), on_send=on_send) as peer:
        pass
    assert peer.text == "a" * 30
    for (_, ended), (began, _) in itertools.pairwise(peer.times):
        assert ended <= began
    with anyio.fail_after(PATIENCE):
        await anyio.sleep(0)
