"""The clients of a soak over sockets: one connection for each stream."""

import asyncio
import socket

import httptools

from .ledger import Ledger
from .plan import Plan
from .reader import Reader

SMALL_BUFFER = 4096  # bytes: a client that does not read is soon felt at the server


class Client(asyncio.Protocol):
    """One request, and what comes of it."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.over = asyncio.get_running_loop().create_future()  # the response, or the connection
        self.complete = False
        self.reader = Reader(plan)
        self._parser = httptools.HttpResponseParser(self)

    @property
    def status(self) -> int:
        return self._parser.get_status_code()

    def ask(self, transport: asyncio.Transport) -> None:
        """Send the request."""
        if self.plan.client == "never reads":
            transport.pause_reading()
        transport.write(f"GET /{self.plan.number} HTTP/1.1\r\nhost: soak\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        if self.status == 200:
            self.reader.feed(body)

    def on_message_complete(self) -> None:
        self.complete = True
        self._finish()

    def connection_lost(self, error: Exception | None) -> None:
        self._finish()

    def _finish(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


async def visit(plan: Plan, port: int, ledger: Ledger, everyone_leaves: asyncio.Event) -> None:
    """Open one stream and do what its plan says; note what is wrong.

    Raises:
        OSError: The server takes no connection.
    """
    client, transport = await connect(plan, port)
    client.ask(transport)
    leaving = asyncio.create_task(everyone_leaves.wait())
    try:
        await asyncio.wait(
            [client.over, leaving],
            timeout=plan.leaves_after,
            return_when=asyncio.FIRST_COMPLETED,
        )
    finally:
        leaving.cancel()
        if plan.number % 2:
            transport.abort()
        else:
            transport.close()
    check(client, ledger)


async def connect(plan: Plan, port: int) -> tuple[Client, asyncio.Transport]:
    loop = asyncio.get_running_loop()
    connection = socket.socket()
    try:
        if plan.client == "never reads":  # before it is made, or it has no effect
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", port))
        transport, client = await loop.create_connection(lambda: Client(plan), sock=connection)
    except BaseException:
        connection.close()
        raise
    return client, transport


def check(client: Client, ledger: Ledger) -> None:
    plan = client.plan
    if client.status and client.over.done() and not client.complete:
        ledger.problem("the body was cut off", plan)
    if client.status not in {0, 200} and not plan.prefetch:
        ledger.problem(f"the status was {client.status}", plan)
    if wrong := client.reader.wrong():
        ledger.problem(wrong, plan)
