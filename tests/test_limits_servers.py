"""What docs/explanation/limits.md says of servers; a limit that has gone leaves the page."""

from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.report import wait_for
from tests.servers import SERVERS, serve
from tests.together import together

pytestmark = pytest.mark.matrix

CLIENTS = 10
CONNECTIONS = Path("/proc/net/tcp")
ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, LAST_ACK = "01", "04", "08", "09"
GIVE_UP = [name for name, each in SERVERS.items() if each.blocks and each.cancellable]


def sockets_of(server):
    """Count the connections that a server holds, by the kernel's table."""
    if not CONNECTIONS.exists():
        pytest.skip("needs Linux")
    rows = [line.split() for line in CONNECTIONS.read_text().splitlines()[1:]]
    port, held = f":{server.port:04X}", {ESTABLISHED, FIN_WAIT_1, CLOSE_WAIT, LAST_ACK}
    return sum(row[1].endswith(port) and row[3] in held for row in rows)


@pytest.mark.parametrize("name", GIVE_UP)
@together("name", at_once=3)
def test_a_client_that_is_given_up_keeps_its_socket_until_it_leaves(name, tmp_path_factory):
    directory = tmp_path_factory.mktemp(name)
    with serve(SERVERS[name], directory=directory) as server, ExitStack() as stack:
        runs = [f"run-{number}" for number in range(CLIENTS)]
        clients = [
            stack.enter_context(server.open(f"/stream/send-timeout?run={run}", receive_buffer=4096))
            for run in runs
        ]
        for run in runs:
            assert server.report.wait(run, "complete", within=30.0)["outcome"] == "timed_out"
            server.report.wait(run, "returned")
        assert sockets_of(server) >= CLIENTS
        for client in clients:
            client.leave()
        wait_for(lambda: sockets_of(server) == 0, what="every socket is closed")
