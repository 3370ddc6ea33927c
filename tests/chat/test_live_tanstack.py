"""TanStack's chat client, unmodified: connections break under it, and it comes back by itself."""

import json
import subprocess

import pytest

from tests.chat.cutting_proxy import CuttingProxy
from tests.chat.live_apps import TEXT
from tests.chat.live_workers import calls, two_workers
from tests.chat.node_clients import FOLDER, require_node

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with two_workers(tmp_path_factory.mktemp("live")) as pair:
        yield pair


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("cuts", [(1_000, 1_500), (700, 3_111), (2_222, 901)], ids=str)
def test_it_has_the_whole_text_of_a_run_that_was_cut_twice(workers, cuts, reset):
    since = calls(*workers)
    ports = [worker.port for worker in workers]
    with CuttingProxy(ports, cuts, reset=reset) as proxy:
        command = [require_node(), str(FOLDER / "tanstack.mjs"),
                   f"http://127.0.0.1:{proxy.port}/ag-ui", "Hi"]  # fmt: skip
        asked = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert json.loads(asked.stdout) == {"text": TEXT, "error": None}
    assert calls(*workers) - since == 1
    comes_back = ["last-event-id:" in request.lower() for request in proxy.requests]
    assert comes_back == [False, True, True]
