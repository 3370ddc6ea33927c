"""A session: what a process has with its Redis at one event loop."""

import asyncio
import time
from functools import partial
from typing import Any, Final, NamedTuple

from sse_asgi.live.log import BATCH_BYTES, LOST, Batch, Ending, Head, OnBuried
from sse_asgi.live.redis import scripts
from sse_asgi.live.redis.client import PAUSE, Client
from sse_asgi.live.redis.lanes import Lane
from sse_asgi.live.redis.pubsub import Listener, Pushes
from sse_asgi.live.redis.scripts import Reading, Script, read_reply

WRITES: Final = 64
"""Calls in one exchange at most; their events are bounded, so an exchange is."""

READS: Final = 8
"""Reads in one exchange at most: each may be answered with a whole batch."""

KEPT: Final = 64
"""Batches that a process keeps, for viewers who come to the same place a little later."""

_READING = scripts.READ, scripts.AGE
_Place = tuple[str, str, int]  # a generation, its token, and a position


class Node(NamedTuple):
    """The connections to a node: what producers write never stands behind a replay."""

    writes: Lane
    reads: Lane
    pushes: Pushes


class Session:
    """Runs scripts, listens to pushes, and reads generations; connects when it is first needed."""

    def __init__(self, client: Client, *, prefix: str, lease: float, on_buried: OnBuried) -> None:
        self.lease: float = lease
        # Seconds without a push after which a follower looks into the log itself.
        self.silence: float = min(5.0, lease / 6)
        # Seconds for which a lease has to be missing before a reader calls it a death: a producer
        # that lives beats before that, and takes its lease back.
        self.grace: float = self.silence * 1.2 + 0.1
        self._client = client
        self._prefix = prefix
        self._on_buried = on_buried
        self._nodes: dict[str, Node] = {}
        self._batches: dict[_Place, asyncio.Task[Batch]] = {}  # read or being read

    def name(self, key: str | int, kind: str) -> str:
        """Return the name of a key in Redis; all of one generation are in one hash slot."""
        return f"{{{self._prefix}:{key}}}:{kind}"

    async def run(self, script: Script, key: str | int, *values: str | bytes | int) -> Any:  # noqa: ANN401 - each script has its own reply
        """Run a script with the next exchange, and return its reply; or raise a `LogError`."""
        names = [self.name(key, kind) for kind in script.kinds]
        node = self._nodes.get("") or await self._node(names[0])
        lane = node.reads if script in _READING else node.writes
        return await lane.add(script.sharded if self._client.clustered else script, names, values)

    async def listen(self, channel: str, listener: Listener) -> None:
        """Tell a listener of a channel, unless it is told already; first, that it must look."""
        (await self._node(channel)).pushes.listen(channel, listener)

    def leave(self, channel: str, listener: Listener) -> None:
        """Tell a listener no more."""
        for node in self._nodes.values():  # a cluster may have moved the channel
            node.pushes.leave(channel, listener)

    async def _node(self, key: str) -> Node:
        name = await self._client.node_of(key)
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = Node(
                Lane(self._client, name, most=WRITES),
                Lane(self._client, name, most=READS),
                Pushes(self._client, name, silence=self.silence),
            )
        return node

    async def look(self, key: str) -> Head | None:
        """Return what is known of a generation. Where it may come back, wait for that.

        It may, where the server has had its data for no longer than a lease, and where somebody
        holds the generation's lease.
        """
        began = time.monotonic()
        while True:
            reply = await self._read(key, 0, 0, 0, 0)
            if len(reply) > 1:
                return read_reply(reply, 0).head
            if time.monotonic() - began > self.lease + self.grace:
                return None
            if not reply and await self._age(key) > self.lease + self.silence:
                return None
            await asyncio.sleep(PAUSE)

    async def read(
        self, key: str, after: int, *, bury: bool = False, present: bool = False
    ) -> Reading | None:
        """Read what a log has after a position, as much as a batch may have; None without a log.

        `bury` ends it if nobody holds its lease; `present` notes that this process follows it.
        """
        reply = await self._read(key, after, BATCH_BYTES, int(bury), int(present))
        return read_reply(reply, after) if len(reply) > 1 else None

    async def _read(self, key: str, *values: int) -> list[Any]:
        reply: list[Any] = await self.run(scripts.READ, key, *values)
        if len(reply) > 1 and reply[-1]:
            self._on_buried(key, reply[0].decode())
        return reply

    async def _age(self, key: str) -> float:
        """Return for how many seconds the node of a generation has had its data."""
        node = await self._client.node_of(self.name(key, "log"))
        number = 0
        while await self._client.node_of(self.name(number, "born")) != node:
            number += 1
        age: int = await self.run(scripts.AGE, number)
        return age / 1000

    async def batch(self, key: str, token: str, after: int) -> Batch:
        """Return the events after a position: the same object for all who ask at about that time.

        What has been stored at a position of a token never changes.
        """
        place = key, token, after
        task = self._batches.get(place)
        if task is None:
            task = asyncio.create_task(self._fetch(*place), name="sse_asgi redis read")
            self._batches[place] = task
            task.add_done_callback(partial(self._keep, place))
        return await asyncio.shield(task)  # whoever leaves leaves it to the others

    async def _fetch(self, key: str, token: str, after: int) -> Batch:
        reading = await self.read(key, after)
        if reading is None or reading.head.token != token:
            return Batch(after, (), Ending(LOST))
        return reading.batch

    def _keep(self, place: _Place, task: "asyncio.Task[Batch]") -> None:
        """Keep what was read, unless it may change or is large; of a failure nobody need know."""
        failed = task.cancelled() or task.exception() is not None
        if failed or not (events := task.result().events) or len(events[0]) > BATCH_BYTES:
            self._batches.pop(place, None)
        elif len(self._batches) > KEPT:
            del self._batches[next(iter(self._batches))]

    async def aclose(self) -> None:
        """Close the connections; what is under way fails."""
        for node in self._nodes.values():
            for part in node:
                await part.aclose()
        await self._client.aclose()
