"""Real servers are drained and restarted, and no answer is cut."""

import signal
import sys
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.apps_draining import WORDS
from tests.report import wait_for
from tests.servers import SERVERS, UVICORN, launch, serve
from tests.together import together

pytestmark = pytest.mark.matrix

APP = "tests.apps_draining:app"
READERS = 4


@pytest.mark.parametrize("name", ["uvicorn-httptools", "hypercorn-asyncio", "granian"])
@together("name", at_once=3)
def test_a_server_that_drains_says_503_and_goes_on_with_its_streams(name, tmp_path_factory):
    directory = tmp_path_factory.mktemp(name)
    with (
        serve(SERVERS[name], directory=directory, app=APP) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        assert client.get("/health").status_code == 200
        with client.stream("GET", "/") as answer:
            lines = answer.iter_lines()
            next(lines)
            client.get("/drain")
            probe = client.get("/health")
            assert (probe.status_code, probe.text) == (503, "stopping\n")
            assert [line for line in lines if line][-1] == "data: [DONE]"
        assert client.get("/health").status_code == 503


class Reader:
    """Reads one stream after the other, until it is told to stop."""

    def __init__(self, url):
        self.url = url
        self.whole, self.cut, self.pids = 0, [], set()
        self.stops = threading.Event()
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while not self.stops.is_set():
            try:
                self.read()
            except httpx.TransportError:  # before a byte of the answer: a client tries again
                time.sleep(0.01)

    def read(self):
        with httpx.stream("GET", self.url, timeout=20) as answer:
            pid, text = 0, []
            try:
                for line in answer.iter_lines():
                    if line.startswith("data: "):
                        pid = pid or int(line[6:])
                        text.append(line[6:])
            except httpx.TransportError as error:
                self.cut.append((pid, text, error))
                return
        self.pids.add(pid)
        if text[1:] == [*WORDS, "[DONE]"]:
            self.whole += 1
        else:
            self.cut.append((pid, text, None))


def command(port):
    arguments = UVICORN.format(app=APP, port=port).split()
    return [sys.executable, "-m", "uvicorn", *arguments, "--workers", "2"]


def test_a_rolling_restart_of_uvicorns_workers_cuts_no_answer(tmp_path):
    server = launch(command, directory=tmp_path)
    readers = [Reader(server.url) for _ in range(READERS)]
    try:
        for reader in readers:
            reader.thread.start()
        wait_for(lambda: all(each.whole for each in readers), within=30, what="all have read")
        old = set().union(*(each.pids for each in readers))
        server.signal(signal.SIGHUP)

        def are_all_new():
            """Tell whether every reader has an answer of a process that has been started since."""
            return all(each.pids - old for each in readers)

        wait_for(are_all_new, within=60, what="new workers answer")
        wait_for(lambda: not any(map(is_alive, old)), within=60, what="the old workers have gone")
    finally:
        for reader in readers:
            reader.stops.set()
        for reader in readers:
            reader.thread.join()
        server.stop()
    assert [each.cut for each in readers] == [[]] * READERS
    assert server.noise() == []


def is_alive(pid):
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
