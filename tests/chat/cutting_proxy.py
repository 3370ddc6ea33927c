"""A TCP proxy that breaks its first connections in the middle of their answers."""

import contextlib
import socket
import struct
import threading

RESET = struct.pack("ii", 1, 0)


class CuttingProxy:
    """Passes connections on to several ports in turn; each of the first answers is cut.

    Attributes:
        port: Where it listens.
        cuts: After how many bytes each of the first answers ends; the others pass whole.
        requests: What has been asked: the head of each request.
    """

    def __init__(self, ports, cuts, *, reset):
        self.requests = []
        self._ports = ports
        self._cuts = cuts
        self._reset = reset
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *exc_info):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):  # it is closed
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            head = client.recv(65536)
            if not head:
                return
            turn = len(self.requests)
            self.requests.append(head.decode())
            address = ("127.0.0.1", self._ports[turn % len(self._ports)])
            with socket.create_connection(address) as server:
                server.sendall(head)
                asking = threading.Thread(target=_pass_on, args=(client, server), daemon=True)
                asking.start()
                left = self._cuts[turn] if turn < len(self._cuts) else None
                _pass_on(server, client, left)
                if left is not None and self._reset:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                for each in (client, server):
                    with contextlib.suppress(OSError):
                        each.shutdown(socket.SHUT_RDWR)
                asking.join()


def _pass_on(source, target, left=None):
    """Pass bytes on until they end, or until so many have passed."""
    with contextlib.suppress(OSError):
        while left is None or left > 0:
            data = source.recv(65536 if left is None else left)
            if not data:
                return
            target.sendall(data)
            left = None if left is None else left - len(data)
