"""Two processes with the chat app of `live_apps`, at one Redis."""

import contextlib

from tests.live.redis_server import RedisServer
from tests.servers import SERVERS, serve


@contextlib.contextmanager
def two_workers(directory):
    """Serve the app twice: what one process runs, the other is asked for."""
    with RedisServer() as redis:

        def worker():
            return serve(
                SERVERS["uvicorn-httptools"],
                directory=directory,
                app="tests.chat.live_apps:app",
                environment={"LIVE_URL": redis.url},
            )

        with worker() as here, worker() as there:
            yield here, there


def calls(*servers):
    """Return how often the generator has been called in these processes."""
    return sum(len(server.report.notes("chat", "call")) for server in servers)
