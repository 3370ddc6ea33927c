"""What only trio has: level-triggered cancellation, nurseries, and no native task."""

import gc
import weakref

import anyio
import pytest

from sse_asgi import EventStream, Outcome, Shutdown
from tests.stream.peer import PATIENCE, Block, Peer, Record, soon

trio = pytest.importorskip("trio")
pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    return "trio"


async def test_a_cancelled_nursery_reaches_the_source_by_trios_rules():
    record, log = Record(), []

    async def source(request):
        try:
            yield "a"
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
                log.append("shielded")
            try:
                await trio.sleep(0)
            except trio.Cancelled:
                log.append("cut")
                raise

    peer = Peer(EventStream(source, on_complete=record))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await peer.received(b"data: a\n")
            nursery.cancel_scope.cancel()
    assert log == ["shielded", "cut"]
    assert record.only.outcome is Outcome.SHUT_DOWN
    assert not peer.closed


@pytest.mark.parametrize("part", [b"start", b"data: a", b"[DONE]"])
async def test_a_nursery_cancelled_while_a_send_blocks(part):
    block, record = Block(part), Record()

    async def source(request):
        yield "a"
        if part != b"[DONE]":
            await trio.sleep_forever()

    peer = Peer(EventStream(source, on_complete=record), on_send=block)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await block.reached.wait()
            nursery.cancel_scope.cancel()
    assert block.cancelled
    assert record.only.outcome is Outcome.SHUT_DOWN


async def test_a_nursery_cancelled_while_on_complete_runs_waits_for_it():
    began, done = trio.Event(), []

    async def on_complete(transcript):
        began.set()
        await trio.sleep(0.02)
        done.append(transcript.outcome)

    peer = Peer(EventStream(["a"], on_complete=on_complete))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await began.wait()
            nursery.cancel_scope.cancel()
    assert done == [Outcome.COMPLETED]


@pytest.mark.parametrize("where", ["idle", "at its first step", "in a send", "in on_chunk"])
async def test_a_servers_cancellation_is_an_outcome_and_no_entry_in_its_log(where, caplog):
    block, record, cleaned = Block(b"data: a" if where == "in a send" else b"none"), Record(), []
    standing = trio.Event()

    async def source(request):
        try:
            if where == "at its first step":
                standing.set()
                await trio.sleep_forever()
            yield "a"
            if where == "idle":
                standing.set()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.001)
            cleaned.append(1)

    async def on_chunk(chunk):
        if where == "in on_chunk":
            standing.set()
            await trio.sleep_forever()

    peer = Peer(EventStream(source, on_complete=record, on_chunk=on_chunk), on_send=block)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await (block.reached if where == "in a send" else standing).wait()
            nursery.cancel_scope.cancel()
    assert nursery.cancel_scope.cancelled_caught
    assert cleaned == [1]
    assert (record.only.outcome, record.only.error) == (Outcome.SHUT_DOWN, None)
    assert not peer.closed
    assert peer.raised is None
    assert caplog.records == []


async def test_an_error_is_reported_bare_not_in_a_group():
    async def source(request):
        yield "a"
        raise LookupError

    async with Peer(EventStream(source)) as peer:
        pass
    assert type(peer.failure) is LookupError


async def test_a_disconnect_that_wakes_the_source_itself_is_not_missed():
    """The source is about to run when the stop comes: it is cancelled at its next await."""
    woken, record, cleaned = trio.Event(), Record(), []

    async def source(request):
        try:
            yield "a"
            await woken.wait()
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            cleaned.append(1)

    peer = Peer(EventStream(source, on_complete=record, cleanup_timeout=PATIENCE))
    receive = peer.receive

    async def receive_and_wake():
        message = await receive()
        if message["type"] == "http.disconnect":
            woken.set()
        return message

    peer.receive = receive_and_wake
    with trio.fail_after(PATIENCE / 2):
        async with peer:
            await peer.received(b"data: a\n")
            peer.leave()
    assert cleaned == [1]
    assert record.only.outcome is Outcome.DISCONNECTED


async def test_a_source_that_only_passes_checkpoints_is_stopped_and_cleans_up():
    record, cleaned = Record(), []

    async def source(request):
        try:
            yield "a"
            while True:
                await trio.lowlevel.checkpoint()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            cleaned.append(1)

    with trio.fail_after(PATIENCE / 2):
        app = EventStream(source, on_complete=record, cleanup_timeout=PATIENCE)
        async with Peer(app) as peer:
            await peer.received(b"data: a\n")
            peer.leave()
    assert cleaned == [1]
    assert record.only.outcome is Outcome.DISCONNECTED


async def test_a_source_inside_of_its_nursery_is_stopped_and_cleans_up():
    record, log = Record(), []

    async def child():
        try:
            await trio.sleep_forever()
        finally:
            log.append("child")

    async def source(request):
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(child)
                yield "a"
                await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.01)
            log.append("cleaned")

    async with Peer(EventStream(source, on_complete=record)) as peer:
        await peer.received(b"data: a\n")
        peer.leave()
    assert log == ["child", "cleaned"]
    assert record.only.outcome is Outcome.DISCONNECTED


async def test_every_keep_alive_is_a_message_of_its_own():
    """A middleware may change the message that it is given."""

    async def source(request):
        yield "a"
        await trio.sleep_forever()

    async with Peer(EventStream(source, heartbeat=0.01)) as peer:
        await peer.until(lambda: len(peer.messages) >= 5)
        peer.leave()
    assert len({id(message) for message in peer.messages}) == len(peer.messages)


async def test_a_scope_of_the_sources_own_in_finally_works():
    log = []

    async def source(request):
        try:
            yield "a"
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                with trio.move_on_after(0.01) as scope:
                    await trio.sleep_forever()
                log.append(scope.cancelled_caught)
                await trio.sleep(0.001)
                log.append("went on")

    async with Peer(EventStream(source)) as peer:
        await peer.received(b"data: a\n")
        peer.leave()
    assert log == [True, "went on"]


@pytest.mark.parametrize("why", ["the client leaves", "the server stops"])
async def test_an_await_in_finally_that_nobody_shields_is_cut_at_once(why, caplog):
    """As in all code for trio: it shields what must run to its end."""
    shutdown, record, log = Shutdown(grace=0, signals=False), Record(), []

    async def source(request):
        try:
            yield "a"
            await trio.sleep_forever()
        finally:
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                log.append("cut")
                raise

    app = EventStream(source, on_complete=record, shutdown=shutdown, cleanup_timeout=60.0)
    with trio.fail_after(PATIENCE):
        async with Peer(app) as peer:
            await peer.received(b"data: a\n")
            peer.leave() if why == "the client leaves" else shutdown.begin()
    assert log == ["cut"]
    assert peer.closed is (why == "the server stops")
    assert record.only.error is None
    assert not caplog.records


async def test_a_sources_own_deadline_while_a_send_blocks():
    block, record, caught = Block(b"data: a"), Record(), []

    async def source(request):
        yield "a"
        try:
            with trio.fail_after(0.03):
                await trio.sleep_forever()
        except trio.TooSlowError:
            caught.append(block.cancelled)
        block.opened.set()
        yield "b"

    async with Peer(EventStream(source, on_complete=record), on_send=block) as peer:
        pass
    assert caught == [False]
    assert peer.text == "ab"
    assert record.only.sent_chunks == 2


async def test_a_deadline_that_spans_yields_while_a_send_blocks():
    block, record, caught = Block(b"xxx"), Record(), []

    async def source(request):
        try:
            with trio.fail_after(0.03):
                for _ in range(4):
                    yield "x" * 70_000
                    await trio.sleep(0)
                await trio.sleep_forever()
        except trio.TooSlowError:
            caught.append("too slow")
        yield "end"

    async def open_later():
        await soon(block.reached)
        await trio.sleep(0.06)
        block.opened.set()

    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(open_later)
            async with Peer(EventStream(source, on_complete=record), on_send=block) as peer:
                pass
    assert caught == ["too slow"]
    assert peer.raised is None
    assert peer.text == record.only.text
    assert record.only.text.endswith("end")
    assert record.only.outcome is Outcome.COMPLETED


async def test_no_task_is_left():
    async def source(request):
        yield "a"
        await trio.sleep_forever()

    before = trio.lowlevel.current_statistics().tasks_living
    async with Peer(EventStream(source, heartbeat=0.01)) as peer:
        await peer.received(b"data: a\n")
        peer.leave()
    assert trio.lowlevel.current_statistics().tasks_living == before


@pytest.mark.parametrize("end", ["completed", "disconnected", "failed"])
async def test_the_app_and_its_source_are_freed_without_the_collector(end):
    async def source():
        yield "a"
        if end == "failed":
            raise LookupError
        if end == "disconnected":
            await trio.sleep_forever()

    async def drive():
        generator = source()
        app = EventStream(generator)
        references = [weakref.ref(app), weakref.ref(generator)]
        async with Peer(app) as peer:
            await peer.received(b"data: a\n")
            if end == "disconnected":
                peer.leave()
        peer.forget()
        return references

    gc.collect()
    gc.disable()
    try:
        references = await drive()
        for _ in range(5):
            await anyio.sleep(0)
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


async def test_a_client_that_leaves_before_the_last_chunks_are_sent_has_not_had_them():
    async def source(request):
        yield "a"
        await block.reached.wait()
        yield "b"

    block = Block(b"data: a")
    record = Record()
    async with Peer(EventStream(source, on_complete=record), on_send=block) as peer:
        await soon(block.reached)
        await anyio.wait_all_tasks_blocked()
        peer.leave()
        await anyio.wait_all_tasks_blocked()
        block.opened.set()
    assert record.only.outcome is Outcome.DISCONNECTED
    assert (record.only.chunks, record.only.sent_chunks) == (2, 1)


async def test_a_stray_cancellation_of_on_chunk_is_its_failure_and_no_business_of_the_source():
    """One that a scope has caught, and that is raised again where no scope is cancelled."""
    record, told = Record(), []

    async def source(request):
        try:
            yield "a"
        except trio.Cancelled:
            told.append(1)
            raise

    async def on_chunk(chunk):
        with trio.CancelScope() as scope:
            scope.cancel()
            try:
                await trio.sleep(0)
            except trio.Cancelled as cancelled:
                kept = cancelled
        raise kept

    async with Peer(EventStream(source, on_complete=record, on_chunk=on_chunk)) as peer:
        pass
    assert told == []
    assert record.only.outcome is Outcome.FAILED
    assert isinstance(record.only.error, RuntimeError)
    assert peer.events[-1].type == "error"
    assert peer.closed


@pytest.mark.parametrize("who", ["client", "server"])
@pytest.mark.parametrize("sends", ["at once", "never"])
async def test_a_source_that_yields_inside_of_a_shield_is_not_waited_for_in_vain(who, sends):
    block, record = Block(*([b"x"] if sends == "never" else [])), Record()
    standing = trio.Event()

    async def source(request):
        yield "a"
        await trio.sleep(0)
        with trio.CancelScope(shield=True):
            while not standing.is_set():
                await trio.sleep(0.001)
            for _ in range(3):
                await trio.sleep(0.002)
                yield "x" * 20_000

    peer = Peer(EventStream(source, on_complete=record), on_send=block)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(peer.run)
            await peer.received(b"data: a")
            if sends == "never":
                standing.set()
                await block.reached.wait()
            if who == "client":
                peer.leave()
            else:
                nursery.cancel_scope.cancel()
            standing.set()
            with trio.CancelScope(shield=True):
                await peer.until(lambda: peer.ended)
            nursery.cancel_scope.cancel()
    assert len(record) == 1
