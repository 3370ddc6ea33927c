"""A session: what a process has with its Redis at one event loop."""

from collections.abc import Callable, Sequence
from typing import Any

from redis.exceptions import RedisClusterException

from sse_asgi.live.log import BATCH_BYTES
from sse_asgi.live.redis import scripts
from sse_asgi.live.redis.client import FAILURES, Client, log_error
from sse_asgi.live.redis.entries import Reading, parse_reading
from sse_asgi.live.redis.lanes import READERS, READS, Call, Lane
from sse_asgi.live.redis.pubsub import Pushes


class Session:
    """Runs scripts and listens to pushes; connects when it is first needed.

    Args:
        client: The client at this event loop.
        prefix: What keys begin with.
        lease: Seconds without a beat after which a producer counts as dead.

    Attributes:
        lease: As given.
        pushes: What listens.
        silence: Seconds without a push after which a follower looks into the log itself.
        grace: Seconds for which a lease has to be missing before a reader calls it a death: a
            producer that lives beats before that, and takes its lease back.
    """

    def __init__(
        self, client: Client, *, prefix: str, lease: float, on_buried: Callable[[str, str], None]
    ) -> None:
        self.lease = lease
        self._on_buried = on_buried
        self.silence: float = min(5.0, lease / 6)
        self.grace: float = self.silence * 1.2 + 0.1
        self.pushes: Pushes = Pushes(client, silence=self.silence)
        self._client = client
        self._prefix = f"{{{prefix}:"
        self._lanes: dict[tuple[str, bool], Lane] = {}
        self._sharded: dict[scripts.Script, scripts.Script] = {}
        self._ready = not client.clustered

    async def ready(self) -> None:
        """Get to know the nodes of a cluster.

        Raises:
            LogError: The cluster cannot be asked.
        """
        if not self._ready:
            await self._client.ready()
            self._ready = True

    def keys(self, key: str) -> tuple[str, str]:
        """Return the names of a generation's keys, in one hash slot."""
        slot = f"{self._prefix}{key}}}:"
        return slot + "log", slot + "own"

    def label(self, label: str) -> str:
        """Return the name of a label's key."""
        return f"{self._prefix}{label}}}:label"

    async def run(
        self, script: scripts.Script, keys: tuple[str, ...], *values: str | bytes | int
    ) -> Any:  # noqa: ANN401 - each script has its own reply
        """Run a script that writes.

        Raises:
            LogError: If the reply does not arrive, or is an error.
        """
        await self.ready()
        return await self.call(script, keys, *values).reply

    def call(
        self,
        script: scripts.Script,
        keys: tuple[str, ...],
        *values: str | bytes | int,
        reads: bool = False,
    ) -> Call:
        """Put a script call on its way. Be `ready` before."""
        if self._client.clustered:
            sharded = self._sharded.get(script)
            if sharded is None:
                sharded = self._sharded[script] = script.sharded()
            script = sharded
        call = Call(script, keys, values)
        try:
            node = self._client.node_of(keys[0])
        except RedisClusterException as error:
            call.settle(error)
        else:
            self._lane(node, reads=reads).add(call)
        return call

    async def read(
        self, key: str, after: int, *, bury: bool = False, present: bool = False
    ) -> Reading | None:
        """Look into a generation's log.

        Args:
            key: The generation.
            after: The position to read from.
            bury: Whether to end it if nobody holds its lease.
            present: Whether this process follows it.
        """
        await self.ready()
        values = (after, BATCH_BYTES, int(bury), int(present))
        return parse_reading(await self._read(key, *values))

    async def look(self, key: str) -> tuple[Reading | None, bool]:
        """Look for a generation, without its events; if there is none, say whether it may come.

        It may, where the server has had its data for no longer than a lease, and where somebody
        holds the generation's lease.
        """
        await self.ready()
        reply = await self._read(key, 0, 0, 0, 0)
        reading = parse_reading(reply)
        if reading is not None or reply:
            return reading, True
        age: int = await self.call(scripts.AGE, (self._born(key),), reads=True).reply
        return None, age < (self.lease + self.silence) * 1000

    async def bury(self, key: str) -> None:
        """End a generation whose producer is missing."""
        await self._read(key, 0, 0, 1, 0)

    async def _read(self, key: str, *values: int) -> Sequence[Any]:
        reply: Sequence[Any] = await self.call(
            scripts.READ, self.keys(key), *values, reads=True
        ).reply
        if len(reply) > 2 and reply[-1]:
            self._on_buried(key, reply[0].decode())
        return reply

    async def aclose(self) -> None:
        """Close the connections, once what waits is done."""
        await self.pushes.aclose()
        for lane in self._lanes.values():
            await lane.aclose()
        try:
            await self._client.aclose()
        except FAILURES as error:
            raise log_error(error) from error

    def _born(self, key: str) -> str:
        """Return the key that tells the age of the node that has a generation."""
        node = self._client.node_of(self.keys(key)[0])
        number = 0
        while self._client.node_of(name := f"{self._prefix}{number}}}:born") != node:
            number += 1
        return name

    def _lane(self, node: str, *, reads: bool) -> Lane:
        lane = self._lanes.get((node, reads))
        if lane is None:
            lane = (
                Lane(self._client, node, width=READERS, most=READS)
                if reads
                else Lane(self._client, node)
            )
            self._lanes[node, reads] = lane
        return lane
