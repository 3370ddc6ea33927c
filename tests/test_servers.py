"""An event stream on every real server: as it should be, and when its client misbehaves."""

import contextlib
import itertools
import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.report import wait_for
from tests.servers import SERVERS, serve
from tests.sources import ENOUGH_TO_BLOCK, MANY, digest
from tests.together import together

PROMPT = 0.2  # seconds from the client's leaving to the end of the source's clean-up
TRIES = 3  # a measurement on a loaded machine may be repeated; what is right may not
DONE = b"data: [DONE]\n\n"

run_numbers = itertools.count()


def new_run(kind):
    return f"{kind}-{next(run_numbers)}"


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Start each server once, when a first test asks for it."""
    started = {}

    def get(name):
        if name not in started:
            directory = tmp_path_factory.mktemp(name)
            running = stack.enter_context(serve(SERVERS[name], directory=directory))
            started[name] = running, tasks_at_rest(running)
        return started[name]

    with contextlib.ExitStack() as stack:
        yield get


EVERY_RUN = "uvicorn-httptools"  # the server that `pytest` tries; `pytest --all` tries every one


def param(name, *others):
    return pytest.param(name, *others, marks=[] if name == EVERY_RUN else pytest.mark.matrix)


@pytest.fixture(params=[param(name) for name in SERVERS])
def name(request):
    return request.param


@contextlib.contextmanager
def taken_from(pool, name):
    """Give a running server; after the test no task of it may be left."""
    running, at_rest = pool(name)
    yield running
    wait_for(lambda: tasks(running) <= at_rest, what="every task of the test is gone")


@pytest.fixture
def server(name, pool):
    with taken_from(pool, name) as running:
        yield running


def only(*names):
    """Run a test on these servers alone."""
    return pytest.mark.parametrize("name", [param(name) for name in names])


def tasks(running):
    """Count the tasks of a server by name, less those that it keeps for its own reasons."""
    lingering = SERVERS[running.name].lingering
    counted = running.get("/tasks")
    return Counter({name: count for name, count in counted.items() if name not in lingering})


def tasks_at_rest(running):
    """Count the tasks of a server whose only client is the one that asks."""
    samples = []
    for _ in range(10):
        samples.append(tasks(running))
        time.sleep(0.01)
    return min(samples, key=Counter.total)


def in_time(measure):
    """Take the best of a few measurements; each of them must be right in all other ways."""
    took = []
    for _ in range(TRIES):
        took.append(measure())
        if took[-1] <= PROMPT:
            return
    pytest.fail(f"took {took} s, not {PROMPT}")


def until_stuck(server, client, run):
    """Wait until the server takes no more, or has taken everything into its memory."""

    def unmoved():
        before = server.get(f"/state?run={run}")
        time.sleep(0.15)
        after = server.get(f"/state?run={run}")
        return before == after and (after["blocked"] or after["idle"]) and after

    client.read_status()
    state = wait_for(unmoved, within=15.0, what="the stream is stuck")
    assert bool(state["blocked"]) is SERVERS[server.name].blocks
    return state


def until_ready(server, client, run, source):
    """Bring a stream to the state in which its client is to leave."""
    if source == "big":
        until_stuck(server, client, run)
    else:
        marker = {"idle": b"data: second\n\n", "paced": b"data: 9 \n\n", "silent": b""}[source]
        client.read_status()
        client.read_until(marker)
        server.report.wait(run, "started")


def assert_disconnected(server, run, log_start):
    """Check all that must be true of a stream whose client left; return its end."""
    cleaned = server.report.wait(run, "cleaned")
    complete = server.report.wait(run, "complete")
    server.report.wait(run, "returned")
    assert len(server.report.notes(run, "complete")) == 1
    assert complete["outcome"] == "disconnected"
    assert complete["error"] == "None"
    assert complete["chunks"] == cleaned["produced"]
    assert complete["digest"] == cleaned["digest"]
    assert complete["sent_chunks"] <= complete["chunks"]
    assert server.report.notes(run, "raised") == []
    assert server.noise(log_start) == []
    return cleaned["at"]


def leave_once(server, source, how, **request):
    """Open a stream, leave it, and return how long its source then took to clean up."""
    log_start, run = len(server.log), new_run(source)
    small = 4096 if source == "big" else None
    with server.open(f"/stream/{source}?run={run}", receive_buffer=small, **request) as client:
        until_ready(server, client, run, source)
        left = client.leave(how)
        return assert_disconnected(server, run, log_start) - left


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("source", ["silent", "idle", "paced", "big"])
@together("name", at_once=2)  # no more, for it is timed
def test_source_is_cleaned_up_at_once_when_its_client_leaves(name, pool, source, how):
    with taken_from(pool, name) as server:
        in_time(lambda: leave_once(server, source, how))


@pytest.mark.parametrize("size", [900_000, 3_000_000])
def test_client_that_leaves_is_seen_behind_a_body_that_nobody_reads(server, size):
    in_time(lambda: leave_once(server, "idle", "close", method="POST", json="x" * size))


def test_each_chunk_arrives_before_the_next_is_made(server):
    run = new_run("stepwise")
    with server.open(f"/stream/stepwise?run={run}") as client:
        assert client.read_status() == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert client.headers["cache-control"] == "no-store, no-transform"
        assert client.headers["x-accel-buffering"] == "no"
        for number in range(5):
            assert server.get(f"/state?run={run}")["produced"] == number
            server.get(f"/step?run={run}")
            client.read_until(b"data: chunk%d\n\n" % number)
        events = b"".join(b"data: chunk%d\n\n" % number for number in range(5))
        assert client.read_all() == events + DONE
    complete = server.report.wait(run, "complete")
    assert complete["outcome"] == "completed"
    assert complete["text"] == "chunk0chunk1chunk2chunk3chunk4"
    assert (complete["chunks"], complete["sent_chunks"]) == (5, 5)


def test_head_gets_the_headers_and_leaves_the_source_alone(server):
    run = new_run("head")
    with server.open(f"/stream/idle?run={run}", method="HEAD") as client:
        assert client.read_status() == 200
        assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert client.read_all() == b""
    server.report.wait(run, "returned")
    assert server.report.notes(run, "started") == []
    assert server.report.notes(run, "raised") == []


def test_source_reads_the_json_body(server):
    run, prompt = new_run("words"), {"prompt": "one two three"}
    with server.open(f"/stream/words?run={run}", method="POST", json=prompt) as client:
        assert client.read_all() == b"data: one\n\ndata: two\n\ndata: three\n\n" + DONE
    assert server.report.wait(run, "complete")["text"] == "onetwothree"


def test_source_reads_the_json_body_when_it_has_begun(server):
    run, prompt = new_run("late"), {"prompt": "y" * 300_000}
    with server.open(f"/stream/late-words?run={run}", method="POST", json=prompt) as client:
        client.read_until(b"data: now: \n\n")
        server.get(f"/step?run={run}")
        assert client.read_all().endswith(b"y\n\n" + DONE)
    assert server.report.wait(run, "complete")["length"] == 300_005


@pytest.mark.parametrize(
    ("name", "source"),
    [
        param(name, source)
        for name, each in SERVERS.items() if not each.http2
        # granian asks in a thread of its own: perhaps too late if nobody waits for the body yet.
        for source in ("words", "late-words") if (name, source) != ("granian", "late-words")
    ],
)  # fmt: skip
def test_client_that_holds_its_body_back_is_asked_for_it(server, source):
    """RFC 9110, 10.1.1: before the response starts, for after that nobody asks any more."""
    run, body = new_run("expect"), b'{"prompt": "one"}'
    head = (
        f"POST /stream/{source}?run={run} HTTP/1.1\r\nhost: localhost\r\n"
        f"expect: 100-continue\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", server.port), timeout=5.0) as client:
        client.sendall(head.encode())
        assert client.recv(4096).startswith(b"HTTP/1.1 100 ")
        client.sendall(body)
        if source == "late-words":
            wait_for(lambda: server.get(f"/state?run={run}")["idle"], what="the source waits")
            server.get(f"/step?run={run}")
        assert server.report.wait(run, "complete")["text"].endswith("one")


@pytest.mark.parametrize(
    ("source", "events", "error"),
    [
        ("failing", b"data: one \n\ndata: two\n\n", "RuntimeError('the model fell over')"),
        ("numbers", b"data: one\n\n", "TypeError"),
    ],
)
@together("name")
def test_source_that_fails_ends_with_an_error_event(name, pool, source, events, error):
    with taken_from(pool, name) as server:
        log_start, run = len(server.log), new_run(source)
        with server.open(f"/stream/{source}?run={run}") as client:
            body = client.read_all()
        assert body.startswith(events + b"event: error\ndata: {")
        assert body.endswith(b"}\n\n")
        assert b"fell over" not in body
        complete = server.report.wait(run, "complete")
        assert complete["outcome"] == "failed"
        assert complete["error"].startswith(error)
        server.report.wait(run, "returned")
        assert server.report.notes(run, "raised") == []
        wait_for(lambda: error.split("(")[0] in server.log[log_start:], what="the log tells of it")


@together("name")
def test_comments_keep_an_idle_stream_alive(name, pool):
    with taken_from(pool, name) as server:
        run, begun = new_run("heartbeat"), time.monotonic()
        with server.open(f"/stream/heartbeat?run={run}") as client:
            body = bytes(client.read_until(b": keep-alive\n" * 3))
            assert time.monotonic() - begun >= 0.14
            client.leave()
            server.report.wait(run, "complete")
        events = b"data: first \n\ndata: second\n\n"
        assert body == events + b": keep-alive\n" * ((len(body) - len(events)) // 13)


@together("name")
def test_send_that_takes_too_long_ends_the_stream(name, pool):
    with taken_from(pool, name) as server:
        log_start, run, kind = len(server.log), new_run("send-timeout"), SERVERS[server.name]
        with server.open(f"/stream/send-timeout?run={run}", receive_buffer=4096) as client:
            if kind.blocks and kind.cancellable:
                client.read_status()
                complete = server.report.wait(run, "complete", within=15.0)
            else:  # this server's `send` ends when the client leaves, and no sooner
                until_stuck(server, client, run)
                time.sleep(0.4)
                client.leave()
                complete = server.report.wait(run, "complete")
            server.report.wait(run, "returned")
        assert complete["outcome"] == ("timed_out" if kind.blocks else "disconnected")
        assert complete["digest"] == server.report.wait(run, "cleaned")["digest"]
        assert server.report.notes(run, "raised") == []
        assert server.noise(log_start) == []


def test_client_that_does_not_read_for_a_while_gets_everything(server):
    log_start, run = len(server.log), new_run("big")
    with server.open(f"/stream/big?run={run}", receive_buffer=4096) as client:
        until_stuck(server, client, run)
        wait_for(
            lambda: client.read_for(0.05).count(b"data: ") == ENOUGH_TO_BLOCK,
            within=20.0,
            what="the client has everything",
        )
        client.leave()
        complete = server.report.wait(run, "complete")
    assert complete["outcome"] == "disconnected"
    assert complete["chunks"] == complete["sent_chunks"] == ENOUGH_TO_BLOCK
    assert server.noise(log_start) == []


class Drain(threading.Thread):
    """Read all that a client is sent, and keep none of it, until told to stop."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.stopping = client, threading.Event()
        client.keep_body = False
        self.start()

    def run(self):
        while not self.stopping.is_set() and not self.client.ended:
            self.client.read_for(0.05)

    def stop(self):
        self.stopping.set()
        self.join()


def test_source_that_never_awaits_lets_others_in_and_can_be_cancelled(server):
    def answer_time():
        begun = time.monotonic()
        assert server.get(f"/state?run={run}")["produced"] < MANY
        return time.monotonic() - begun

    def leave_hot():
        log_start = len(server.log)
        with server.open(f"/stream/hot?run={run}") as client:
            client.read_until(b"data: 999 \n\n", within=10.0)
            drain = Drain(client)
            in_time(answer_time)
            drain.stop()
            left = client.leave()
            cleaned = server.report.wait(run, "cleaned")
            complete = server.report.wait(run, "complete")
        assert cleaned["produced"] < MANY
        assert complete["outcome"] == "disconnected"
        assert complete["chunks"] == cleaned["produced"]
        assert server.noise(log_start) == []
        return cleaned["at"] - left

    def measure():
        nonlocal run
        run = new_run("hot")
        return leave_hot()

    run = ""
    in_time(measure)


@only("uvicorn-h11", "hypercorn-trio")
def test_forty_idle_sync_sources_leave_the_thread_pool_free(server):
    log_start, prefix = len(server.log), new_run("forty")
    with contextlib.ExitStack() as stack:
        runs = [f"{prefix}-{number}" for number in range(40)]
        clients = [
            stack.enter_context(server.open(f"/stream/blocked-thread?run={run}")) for run in runs
        ]
        for run in runs:
            server.report.wait(run, "blocked")
        in_time(lambda: server.get("/pool")["took"])
        for client in clients[:20]:
            client.leave()
        server.get(f"/release?prefix={prefix}")
        for client in clients[20:]:
            assert client.read_all() == b"data: before \n\ndata: after\n\n" + DONE
        outcomes = [server.report.wait(run, "complete")["outcome"] for run in runs]
        assert outcomes[20:] == ["completed"] * 20
        assert set(outcomes[:20]) <= {"disconnected", "completed"}
        assert all(server.report.wait(run, "closed")["thread"] for run in runs)
    assert server.noise(log_start) == []


@only("uvicorn-h11", "hypercorn-trio")
def test_sync_source_that_outlasts_its_clean_up_time_is_closed_when_it_wakes(server):
    run = new_run("outlasting")
    with server.open(f"/stream/blocked-thread?run={run}") as client:
        server.report.wait(run, "blocked")
        client.leave()
        assert server.report.wait(run, "complete")["outcome"] == "disconnected"
        server.report.wait(run, "returned")
    assert server.report.notes(run, "closed") == []
    server.get(f"/release?prefix={run}")
    assert server.report.wait(run, "closed")["thread"]


def chunks_of(size, count):
    return [f"{number}:{'x' * size} " for number in range(count)]


def received_text(body):
    """Return the text of the whole events of a body, unframed by hand."""
    events = body[: body.rfind(b"\n\n") + 2].split(b"\n\n")[:-1]
    return "".join(event.decode().removeprefix("data: ") for event in events)


def cut_once(server, seed):
    """Leave a stream at a random moment and check what each side holds."""
    chance = random.Random(seed)
    size, pause = chance.choice([1, 90, 5_000]), chance.choice([0, 0, 0.001, 0.004])
    run = f"cut-{seed}"
    query = f"run={run}&size={size}&pause={pause}"
    with server.open(f"/stream/random-pace?{query}") as client:
        if chance.random() < 0.9:
            client.read_status()
            client.read_for(chance.choice([0, 0.001, 0.01, 0.05]) * chance.random())
            client.leave(chance.choice(["close", "reset"]))
        else:
            client.leave("close")
        complete = server.report.wait(run, "complete", within=10.0)
        server.report.wait(run, "returned")
    produced = "".join(chunks_of(size, complete["chunks"]))
    sent = "".join(chunks_of(size, complete["sent_chunks"]))
    assert (complete["length"], complete["digest"]) == (len(produced), digest(produced))
    assert produced.startswith(sent)
    assert sent.startswith(received_text(client.body).removesuffix("[DONE]"))
    for note in server.report.notes(run, "cleaned"):  # none if the source had not begun
        assert note["produced"] == complete["chunks"]
    return complete["outcome"]


@only("uvicorn-h11", "uvicorn-httptools")
def test_requests_cut_at_random_moments_leave_consistent_texts(server):
    log_start = len(server.log)
    seeds = range(50) if server.name == "uvicorn-h11" else range(50, 100)
    with ThreadPoolExecutor(8) as executor:
        outcomes = Counter(executor.map(partial(cut_once, server), seeds))
    assert set(outcomes) <= {"disconnected", "completed"}
    assert outcomes["disconnected"] >= 25
    for seed in seeds:
        assert len(server.report.notes(f"cut-{seed}", "complete")) == 1
        assert server.report.notes(f"cut-{seed}", "raised") == []
    assert server.noise(log_start) == []
