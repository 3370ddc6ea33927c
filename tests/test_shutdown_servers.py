"""Every server is told to stop while streams are open: what they get, and when it exits."""

import itertools
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

import pytest

from tests.apps_shutdown import FAREWELL, GRACE
from tests.conftest import require
from tests.report import wait_for
from tests.servers import UVICORN, Running, launch
from tests.together import together

pytestmark = pytest.mark.matrix

APP = "tests.apps_shutdown:app"
FIRST = b"data: first \n\n"
LAST = FIRST + b"data: last\n\ndata: [DONE]\n\n"
CUT = FIRST + FAREWELL.encode()
FILLER = b":\n"  # what may come with the end of an HTTP/2 stream
PATIENCE = 1.9  # seconds after the grace within which a server must have exited
HYPERCORN = "{app} --bind 127.0.0.1:{port}"
GRANIAN = "{app} --host 127.0.0.1 --port {port} --interface asgi"
run_numbers = itertools.count()


@dataclass(frozen=True)
class Scenario:
    """A way to serve, and the signal that tells the first process to stop."""

    name: str
    module: str
    arguments: str
    signum: int = signal.SIGTERM
    needs: tuple[str, ...] = ()
    http2: bool = False
    streams: int = 1  # of each kind
    workers: int = 1  # that answer before the server is told to stop
    app: str = APP

    def __str__(self):
        return self.name

    def command(self, port):
        arguments = self.arguments.format(app=self.app, port=port).split()
        return [sys.executable, "-m", self.module, *arguments]


def interrupted(scenario):
    return Scenario(f"{scenario.name}, SIGINT", scenario.module, scenario.arguments, signal.SIGINT)


H11 = Scenario("uvicorn, h11", "uvicorn", UVICORN + " --http h11 --loop asyncio")
HTTPTOOLS = Scenario("uvicorn, httptools", "uvicorn", UVICORN + " --http httptools --loop uvloop")
ONE_PROCESS = Scenario("hypercorn -w 0, asyncio", "hypercorn", HYPERCORN + " -w 0 -k asyncio")
GRANIAN_1 = Scenario("granian", "granian", GRANIAN + " --http 1")
DAPHNE = Scenario("daphne", "daphne", "{app} -b 127.0.0.1 -p {port}")
GUNICORN = "-k uvicorn_worker.UvicornWorker -w 1 -b 127.0.0.1:{port} {app}"
SCENARIOS = (
    H11,
    HTTPTOOLS,
    Scenario("uvicorn --workers 2", "uvicorn", UVICORN + " --workers 2", streams=6),
    Scenario("uvicorn --reload", "uvicorn", UVICORN + " --reload"),
    Scenario("gunicorn", "gunicorn", GUNICORN, needs=("uvicorn_worker",)),
    ONE_PROCESS,
    Scenario("hypercorn -w 0, uvloop", "hypercorn", HYPERCORN + " -w 0 -k uvloop"),
    Scenario("hypercorn, asyncio", "hypercorn", HYPERCORN + " -k asyncio"),
    Scenario("hypercorn, uvloop", "hypercorn", HYPERCORN + " -k uvloop"),
    Scenario("hypercorn, trio", "hypercorn", HYPERCORN + " -k trio"),
    Scenario("hypercorn, h2c", "hypercorn", HYPERCORN + " -k asyncio", http2=True),
    GRANIAN_1,
    Scenario("granian, h2c", "granian", GRANIAN + " --http 2", http2=True),
    Scenario("granian --workers 2", "granian", GRANIAN + " --workers 2", streams=6, workers=2),
    DAPHNE,
    *map(interrupted, (H11, HTTPTOOLS, ONE_PROCESS, GRANIAN_1, DAPHNE)),
)


@contextmanager
def started(scenario, directory, *, grace=None):
    for part in (scenario.module, *scenario.needs):
        require(part)
    directory.mkdir()
    running = launch(
        scenario.command,
        directory=directory,
        http2=scenario.http2,
        environment={
            "SSE_TEST_GO": str(directory / "go"),
            **({} if grace is None else {"SSE_TEST_GRACE": grace}),
        },
    )
    try:
        wait_for_workers(running, scenario.workers)
        yield running
    finally:
        running.stop()


def wait_for_workers(running, count):
    """Wait until so many processes have answered: one of granian's that still starts is deaf."""
    seen = set()

    def enough():
        seen.add(running.get("/pid"))
        return len(seen) >= count

    wait_for(enough, within=20.0, what=f"{count} workers answer")


def open_streams(stack, running, kinds, count=1):
    """Open streams of each kind; give the client and the name of each run, by kind."""
    clients = {}
    for kind in kinds:
        for _ in range(count):
            run = f"run-{next(run_numbers)}"
            client = stack.enter_context(running.open(f"/{kind}?run={run}"))
            client.read_until(FIRST)
            clients.setdefault(kind, []).append((client, run))
    return clients


def exit_time(running: Running, begun, *, within, clients=()):
    """Return how long it took a server to exit, None if it did not, while its clients stay.

    One of HTTP/2's that answers no PING keeps granian from its exit for ever.
    """
    while time.monotonic() < begun + within:
        for client in clients:
            client.stay(0.002)
        with suppress(subprocess.TimeoutExpired):
            running.process.wait(0.02)
            return time.monotonic() - begun
    return None


@dataclass
class Course:
    """What came of a shutdown."""

    bodies: dict[str, list[bytes]]
    endings: dict[str, list[dict]]
    cleanings: dict[str, list[dict]]
    seconds: float | None
    noise: list[str]


def stop_and_watch(scenario, directory):
    """Open streams, tell the server to stop, and keep all that happens."""
    kinds = ("own/ending", "own/endless", "retrofit/ending", "retrofit/endless")
    with started(scenario, directory) as running, ExitStack() as stack:
        clients = open_streams(stack, running, kinds, scenario.streams)
        begun = time.monotonic()
        running.signal(scenario.signum)
        (directory / "go").touch()
        bodies = {
            kind: [bytes(client.read_all(within=10.0)) for client, _ in pairs]
            for kind, pairs in clients.items()
        }
        staying = [client for pairs in clients.values() for client, _ in pairs]
        seconds = exit_time(running, begun, within=15.0, clients=staying)

        def notes(what):
            return {
                kind: [running.report.notes(run, what) for _, run in pairs]
                for kind, pairs in clients.items()
            }

        return Course(bodies, notes("complete"), notes("cleaned"), seconds, running.noise())


@pytest.fixture(scope="module")
def courses(request, tmp_path_factory):
    """Run all the chosen scenarios, some at a time."""
    mine = [item for item in request.session.items if item.path == request.path]
    params = [item.callspec.params for item in mine if hasattr(item, "callspec")]
    chosen = dict.fromkeys(each["scenario"] for each in params if "scenario" in each)
    directory = tmp_path_factory.mktemp("shutdown")
    with ThreadPoolExecutor(3) as executor:
        futures = {
            scenario: executor.submit(stop_and_watch, scenario, directory / str(number))
            for number, scenario in enumerate(chosen)
        }
        yield futures
        for future in futures.values():
            future.cancel()


@pytest.fixture
def course(courses, scenario):
    return courses[scenario].result()


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_server_that_is_told_to_stop_lets_its_streams_end_and_exits(course, scenario):
    """Look at everything at once: a shutdown is one event, and costs seconds to repeat."""
    for kind, bodies in course.bodies.items():
        expected = LAST if kind.endswith("ending") else CUT
        assert [body.removesuffix(FILLER) for body in bodies] == [expected] * scenario.streams, kind
    for kind, endings in course.endings.items():
        outcome = "completed" if kind.endswith("ending") else "shut_down"
        text = "first last" if kind.endswith("ending") else "first "
        seen = [[(one["outcome"], one["text"]) for one in each] for each in endings]
        assert seen == [[(outcome, text)]] * scenario.streams, kind
    for kind, cleanings in course.cleanings.items():
        assert [len(each) for each in cleanings] == [1] * scenario.streams, kind
    assert course.seconds is not None, "the server did not exit"
    assert course.seconds < GRACE + PATIENCE
    assert course.noise == []


# A server that has less patience than ours

HYPERCORN_GRACE = 3.0  # hypercorn's default, in seconds
HURRIED = HYPERCORN + " --graceful-timeout 1 -k "
PATIENT = "5.0"  # our default


@pytest.mark.parametrize(
    ("arguments", "seconds"),
    [
        (HURRIED + "asyncio", 1.0),
        (HURRIED + "asyncio -w 0", 1.0),
        (HURRIED + "uvloop", 1.0),
        (HURRIED + "trio", 1.0),
        (HYPERCORN + " -k asyncio", HYPERCORN_GRACE),
        (HYPERCORN + " -k trio", HYPERCORN_GRACE),
    ],
    ids=["asyncio", "asyncio, -w 0", "uvloop", "trio", "asyncio, defaults", "trio, defaults"],
)
@together("arguments", "seconds", at_once=3)
def test_hypercorn_that_waits_for_less_than_our_grace_cuts_no_stream(
    arguments, seconds, tmp_path_factory
):
    """With all defaults on both sides, too: the server's limit counts, for it is the smaller."""
    scenario = Scenario("hypercorn", "hypercorn", arguments)
    directory = tmp_path_factory.getbasetemp() / f"hurried-{next(run_numbers)}"
    with started(scenario, directory, grace=PATIENT) as running, ExitStack() as stack:
        clients = open_streams(stack, running, ["own/endless", "retrofit/endless"])
        begun = time.monotonic()
        running.signal(signal.SIGTERM)
        for kind, ((client, run),) in clients.items():
            body = bytes(client.read_all(within=seconds + PATIENCE))
            assert body.removesuffix(FILLER) == CUT, kind
            complete = running.report.wait(run, "complete")
            assert (complete["outcome"], complete["text"]) == ("shut_down", "first "), kind
            running.report.wait(run, "cleaned")
        assert exit_time(running, begun, within=seconds + 2 * PATIENCE) is not None
        assert running.noise() == []


def test_reload_ends_the_streams_and_serves_on(tmp_path):
    scenario = Scenario("uvicorn --reload", "uvicorn", UVICORN + " --reload")
    directory = tmp_path / "server"
    with started(scenario, directory) as running, ExitStack() as stack:
        clients = open_streams(stack, running, ["own/endless", "retrofit/endless"])
        (directory / "changed.py").write_text("# a change\n")
        wait_for(lambda: touched_and_seen(directory / "changed.py", running), what="a reload")
        for ((client, run),) in clients.values():
            assert client.read_all(within=10.0) == CUT
            assert running.report.wait(run, "complete")["outcome"] == "shut_down"
        open_streams(stack, running, ["own/endless"])
        assert running.noise() == []


def touched_and_seen(path, running):
    """Change a file until uvicorn notices, which knows no file at first."""
    os.utime(path, (time.time(), path.stat().st_mtime + 1))
    time.sleep(0.1)
    return "detected changes" in running.log


def test_client_that_does_not_read_holds_no_stream_open(tmp_path):
    """Its bytes keep uvicorn from its exit until it leaves; the stream ends all the same."""
    with started(H11, tmp_path / "server") as running, ExitStack() as stack:
        path = "/flood/endless?run=flood"
        client = stack.enter_context(running.open(path, receive_buffer=4096))
        client.read_status()
        running.report.wait("flood", "blocked", within=15.0)
        begun = time.monotonic()
        running.signal(signal.SIGTERM)
        assert running.report.wait("flood", "complete")["outcome"] == "shut_down"
        assert time.monotonic() - begun < GRACE + PATIENCE
        client.leave()
        assert exit_time(running, time.monotonic(), within=PATIENCE) is not None
        assert running.noise() == []


def test_streams_without_a_shutdown_are_the_servers_business(tmp_path):
    directory = tmp_path / "server"
    with started(H11, directory) as running, ExitStack() as stack:
        ((client, run),) = open_streams(stack, running, ["opted-out/ending"])["opted-out/ending"]
        running.signal(signal.SIGTERM)
        wait_for(lambda: "Shutting down" in running.log, what="uvicorn has heard")
        client.read_for(GRACE + 0.3)
        assert client.body == FIRST
        (directory / "go").touch()
        assert client.read_all() == LAST
        assert running.report.wait(run, "complete")["outcome"] == "completed"


SLOW_TO_START = """\
import time
from pathlib import Path

Path("starting").touch()
while not Path("go").exists():
    time.sleep(0.01)

from tests.apps_shutdown import app
"""


def test_granian_kills_a_worker_that_missed_the_signal_while_it_started(tmp_path):
    """It misses it with any app, and granian would wait for ever without the option."""
    require("granian")
    (tmp_path / "slow.py").write_text(SLOW_TO_START)
    arguments = GRANIAN + " --workers-kill-timeout 1"
    running = launch(
        lambda port: Scenario("granian", "granian", arguments, app="slow:app").command(port),
        directory=tmp_path,
        ready=lambda running: (tmp_path / "starting").exists(),
    )
    try:
        begun = time.monotonic()
        running.signal(signal.SIGTERM)
        wait_for(lambda: "Shutting down" in running.log, what="granian has heard")
        (tmp_path / "go").touch()
        assert exit_time(running, begun, within=1.0 + 5 * PATIENCE) is not None
    finally:
        running.stop()
