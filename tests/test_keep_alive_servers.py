"""A stream that fails takes no other request of its connection with it, on any server."""

import contextlib

import pytest

from tests.raw_clients import Http1
from tests.servers import SERVERS, serve
from tests.test_nginx import nginx

pytestmark = pytest.mark.matrix

TURNS = 15
GOOD = b"data: one \n\ndata: two\n\ndata: [DONE]\n\n"
BAD = b"data: one \n\nevent: error\ndata: {"


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Start each server, and the nginx before it, once: when a first test asks for it."""
    started = {}

    def get(name):
        if name not in started:
            directory = tmp_path_factory.mktemp(name)
            server = serve(SERVERS[name], directory=directory, app="tests.apps_keep_alive:app")
            started[name] = stack.enter_context(server), directory
        return started[name][0]

    def get_behind_nginx(name):
        server, key = get(name), f"nginx-{name}"
        if key not in started:
            directory = started[name][1]
            started[key] = stack.enter_context(nginx(directory, server.port)), directory
        return started[key][0]

    with contextlib.ExitStack() as stack:
        yield get, get_behind_nginx


class Connection:
    """One connection that is kept, for as long as the server does not say that it closes it."""

    def __init__(self, connect, request):
        self._connect, self._request = connect, request
        self._client = None

    def get(self, path):
        """Return the whole body of a response."""
        if self._client is None:
            self._client = self._connect()
            self._client.request(path, **self._request)
        else:
            self._client.request_again(path, **self._request)
        status = self._client.read_status()
        assert status == 200, f"{status} {bytes(self._client.body[:100])!r}"
        body = bytes(self._client.read_all())
        if self._client.says_close:
            self.close()
        return body

    def close(self):
        if self._client is not None:
            self._client.socket.close()
            self._client = None


def failed_good_requests(connect, prefix, **request):
    """Ask for bad and good streams in turn; return what went wrong with the good ones."""
    connection, failed = Connection(connect, request), []
    try:
        for turn in range(TURNS):
            bad = connection.get(f"{prefix}/bad")
            assert bad.startswith(BAD)
            assert bad.endswith(b"}\n\n")
            try:
                assert connection.get(f"{prefix}/good") == GOOD
            except (AssertionError, OSError) as error:
                failed.append(f"turn {turn}: {error!r}")
                connection.close()
    finally:
        connection.close()
    return failed


@pytest.mark.parametrize("kind", ["ours", "wrapped"])
@pytest.mark.parametrize("name", SERVERS)
def test_no_good_request_is_lost_after_a_bad_one_on_a_kept_connection(pool, name, kind):
    server = pool[0](name)
    assert failed_good_requests(server.connect, f"/{kind}") == []


@pytest.mark.parametrize("kind", ["ours", "wrapped"])
@pytest.mark.parametrize("name", [name for name, each in SERVERS.items() if not each.http2])
def test_no_good_request_is_lost_behind_an_nginx_that_keeps_its_connections(pool, name, kind):
    port = pool[1](name)
    post = {"method": "POST", "json": {}}  # nginx sends a GET once more, on another connection
    assert failed_good_requests(lambda: Http1(port), f"/kept/{kind}", **post) == []
