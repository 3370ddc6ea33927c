"""What a part of the soak gave, and its table."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sse_asgi import Outcome

from .ledger import Ledger
from .state import State

OVERDUE = 15.0  # seconds after a shutdown at which a stream counts as hanging
ROUND = 30.0  # seconds
FEWEST_ROUNDS = 3


def rounds_of(seconds: float) -> Iterator[float]:
    """Divide the time into rounds; the state after the first is what later ones must keep."""
    rounds = max(FEWEST_ROUNDS, round(seconds / ROUND))
    yield from [seconds / rounds] * rounds


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its outcomes, the states after its first and its last round, its problems."""

    name: str
    outcomes: dict[str, int]
    first: State
    last: State
    problems: list[str]
    broken: int

    @classmethod
    def of(cls, name: str, ledger: Ledger, states: Sequence[State]) -> "Part":
        problems = [*ledger.problems, *states[-1].growth(states[0])]
        return cls(
            name,
            dict(ledger.outcomes),
            states[0],
            states[-1],
            problems,
            broken=ledger.broken + len(states[-1].growth(states[0])),
        )


def table(parts: Sequence[Part]) -> str:
    """Return what happened and what is left, as two small tables."""
    ends = [each.value for each in Outcome if each is not Outcome.STOPPED]
    rows = [["", "streams", *ends]]
    rows += [
        [p.name, sum(p.outcomes.values()), *(p.outcomes.get(end, 0) for end in ends)] for p in parts
    ]
    kept = [["", "RSS MiB", "blocks", "sse_asgi objects", "tasks", "threads", "files"]]
    kept += [[p.name, *(f"{a} > {b}" for a, b in pairs(p.first, p.last))] for p in parts]
    return f"{aligned(rows)}\n\nafter the first round > after the last\n{aligned(kept)}"


def pairs(first: State, last: State) -> Iterator[tuple[object, object]]:
    for state in [(first, last)]:
        a, b = state
        yield round(a.rss / 2**20), round(b.rss / 2**20)
        yield a.blocks, b.blocks
        yield sum(a.objects.values()), sum(b.objects.values())
        yield a.tasks, b.tasks
        yield a.threads, b.threads
        yield a.files, b.files


def aligned(rows: Sequence[Sequence[object]]) -> str:
    texts = [[f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))
        for row in texts
    )
