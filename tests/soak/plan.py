"""What is to happen in one stream: all of it follows from a seed and the stream's number.

So the client, which may be another process than the server, knows what the source produces, and a
stream that broke a rule can be made again.
"""

import random
from dataclasses import dataclass

from sse_asgi import Framing, JSONFraming, Outcome, TextFraming

KINDS = ("EventStream", "EventStreamResponse", "middleware", "middleware of Starlette")
PIECES = ["a", "word ", "", "two\nlines", "cr\r", "\nlf", "[DONE]", "\u2028", "x" * 3_000, "\u20ac"]
PLAIN = ["a", "word ", "\u20ac", "x" * 3_000]  # needs no encoding but `data: `
LARGE = "y" * 262_144
ENOUGH = 20  # of these fill every buffer between a server and its client
SOONEST, LATEST = 0.0, 2.0  # seconds after which a client leaves
MOST_SWALLOWED = 3  # cancellations that a source ignores
MOST_SWALLOWED_BY_AN_APP = 3
PATIENCE = 15.0  # seconds for which a few clients stay at a source that hangs


@dataclass(frozen=True, slots=True)
class Plan:
    """The choices for one stream."""

    number: int
    kind: str
    threaded: bool
    framing: Framing
    chunks: tuple[str, ...]
    pause: float | None  # seconds at most between chunks; `None`: never awaits
    fault: str  # of the source: "", "raises", "hangs"
    fault_at: int  # chunks before it
    swallows: int  # cancellations that the source ignores
    cleanup: str  # "", "awaits", "overruns", "raises"
    on_chunk: str  # "", "sync", "slow", "raises"
    on_complete: str  # "sync", "quick", "slow", "raises"
    client: str  # "reads", "leaves", "never reads", "breaks", "cancels"
    leaves_after: float  # seconds
    prefetch: bool
    record: bool
    heartbeat: float | None

    @property
    def wrapped(self) -> bool:
        return self.kind.startswith("middleware")

    @property
    def text(self) -> str:
        """The text of a source that comes to its end."""
        return "".join(self.chunks)

    @property
    def outcomes(self) -> set[Outcome]:
        """The ways in which this stream may end."""
        possible = {Outcome.SHUT_DOWN, Outcome.DISCONNECTED}  # every client leaves at last
        ends = self.fault != "raises" and (self.fault != "hangs" or self.threaded)
        if ends and (self.on_chunk != "raises" or not self.text):
            possible.add(Outcome.COMPLETED)
        if "raises" in {self.fault, self.on_chunk, self.cleanup} or self.client == "breaks":
            possible.add(Outcome.FAILED)
        if self.client == "never reads":
            possible.add(Outcome.TIMED_OUT)
        return possible


def plan_of(seed: int, number: int, *, sockets: bool) -> Plan:
    """Choose; over sockets the two faults that only a server in process can have are left out."""
    chance = random.Random(f"{seed} {number} {sockets}")
    kind = chance.choice(KINDS)
    wrapped = kind.startswith("middleware")
    clients = {"reads": 8, "leaves": 8, "never reads": 1}
    if not sockets:
        clients |= {"never reads": 2, "breaks": 2, "cancels": 2}
    client = chance.choices(list(clients), weights=list(clients.values()))[0]
    chunks = chance.choices(PLAIN if wrapped else PIECES, k=chance.randrange(20))
    if client == "never reads" and sockets:
        chunks = [LARGE] * ENOUGH
    most = MOST_SWALLOWED_BY_AN_APP if wrapped else MOST_SWALLOWED
    fault = chance.choice(["", "", "", "raises", "hangs"])
    stays = fault != "hangs" or chance.random() < 0.05
    if client == "reads" and not stays:
        client = "leaves"
    return Plan(
        number=number,
        kind=kind,
        threaded=not wrapped and chance.random() < 0.1,
        framing=TextFraming() if wrapped else chance.choice([TextFraming(), JSONFraming()]),
        chunks=tuple(chunks),
        pause=chance.choice([None, 0, 0.01, 0.05]),
        fault=fault,
        fault_at=chance.randrange(len(chunks) + 1),
        swallows=chance.choice([0, 0, 0, 0, 1, most]),
        cleanup=chance.choice(["", "", "awaits", "awaits", "overruns", "raises"]),
        on_chunk=chance.choices(["", "sync", "slow", "raises"], weights=[6, 2, 1, 1])[0],
        on_complete=chance.choices(["sync", "quick", "slow", "raises"], weights=[3, 3, 2, 1])[0],
        client=client,
        leaves_after=PATIENCE if client == "reads" else chance.uniform(SOONEST, LATEST),
        prefetch=not wrapped and chance.random() < 0.1,
        record=chance.random() < 0.8,
        heartbeat=chance.choice([0.05, 15.0, None]),
    )
