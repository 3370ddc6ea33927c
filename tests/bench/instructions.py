"""Count instructions: `python -m tests.bench.instructions` says what sse_asgi adds to the raw loop.

Times move with the machine and its neighbours. The number of instructions does not: two runs differ
by less than 1 % on any machine with the same Python, uvloop and libraries. So a change of a few per
cent, which no clock would show, shows here.

callgrind (a tool of valgrind) counts all instructions of a process, `tests.bench.counted`, that
serves streams on uvloop and on a stub server without sockets. Each case runs twice, with more work
the second time; the difference is the work alone, without the start of Python and the imports.

- paced: one chunk of 20 open streams, each chunk waited for
- burst: one chunk of a stream whose 500 chunks are ready at once
- opening: one whole stream of a single chunk

    python -m tests.bench.instructions                            # all three, less than a minute
    python -m tests.bench.instructions --only paced --limit 15000 # exits 1 if sse_asgi adds more
    python -m tests.bench.instructions --json                     # for other programs

`--limit` bounds what sse_asgi adds to the raw loop per paced chunk.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product

from .contestants import ROOT, importable
from .counted import BURST, STREAMS

APPS = ("raw", "sse_asgi")
COLLECTED = re.compile(r"^==\d+== Collected : (\d+)$", re.MULTILINE)
TIMEOUT = 300.0  # seconds for one run, which takes some seven


class CountError(Exception):
    """A run under callgrind failed."""


@dataclass(frozen=True, slots=True)
class Case:
    """A load, the two amounts of it that are run, and the chunks or streams of one amount."""

    load: str
    few: int
    many: int
    per_unit: int

    @property
    def units(self) -> int:
        return (self.many - self.few) * self.per_unit


CASES = (
    Case("paced", few=50, many=150, per_unit=STREAMS),
    Case("burst", few=5, many=15, per_unit=BURST),
    Case("opening", few=50, many=250, per_unit=1),
)


@dataclass(frozen=True, slots=True)
class Result:
    """Instructions of one chunk, or of one opening."""

    load: str
    raw: int
    sse_asgi: int
    added: int


def count(app: str, load: str, number: int) -> int:
    """Return the instructions of a whole process that serves `number` of `load`.

    Raises:
        CountError: The process failed, or callgrind printed no count.
    """
    done = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null",
         sys.executable, "-m", "tests.bench.counted", app, load, str(number)],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )  # fmt: skip
    found = COLLECTED.search(done.stderr)
    if done.returncode or not found:
        raise CountError(f"{app} {load} {number} failed under callgrind:\n{done.stderr}")
    return int(found[1])


def measure(cases: Sequence[Case], *, jobs: int) -> list[Result]:
    """Run all cases, `jobs` processes at a time."""
    runs = [(app, case.load, n) for case in cases for app in APPS for n in (case.few, case.many)]
    with ThreadPoolExecutor(jobs) as pool:
        counts = dict(zip(runs, pool.map(lambda run: count(*run), runs), strict=True))
    costs = {
        (case, app): counts[app, case.load, case.many] - counts[app, case.load, case.few]
        for case, app in product(cases, APPS)
    }
    return [result(case, costs[case, "raw"], costs[case, "sse_asgi"]) for case in cases]


def result(case: Case, raw: int, mine: int) -> Result:
    return Result(
        load=case.load,
        raw=round(raw / case.units),
        sse_asgi=round(mine / case.units),
        added=round((mine - raw) / case.units),
    )


def table(results: Sequence[Result]) -> str:
    lines = [f"{'instructions of':<16} {'raw loop':>10} {'sse_asgi':>10} {'added':>10}"]
    lines += [f"{r.load:<16} {r.raw:>10,} {r.sse_asgi:>10,} {r.added:>+10,}" for r in results]
    return "\n".join(lines)


def missing() -> str | None:
    """Say what is not installed, or None."""
    if not shutil.which("valgrind"):
        return "valgrind is not installed; it is needed to count instructions"
    if not importable("uvloop"):
        return "uvloop is not installed; it is needed to count instructions"
    return None


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.instructions",
        description="Count the instructions that sse_asgi adds to the raw loop.",
    )
    add = parser.add_argument
    names = [case.load for case in CASES]
    add(
        "--only",
        action="append",
        choices=names,
        metavar="LOAD",
        help=f"count this load only; repeatable: {', '.join(names)}",
    )
    add("--limit", type=int, metavar="N", help="exit 1 if a paced chunk adds more than N")
    add("--json", action="store_true", help="print JSON instead of a table")
    add("--jobs", type=int, default=os.cpu_count(), help="processes at a time; one for each core")
    options = parser.parse_args()  # fmt: skip
    if options.limit is not None and options.only and "paced" not in options.only:
        parser.error("--limit is for paced chunks: add --only paced, or leave out --only")
    return options


def over_limit(results: Sequence[Result], limit: int | None) -> str | None:
    """Say by how much a paced chunk is over the limit, or None."""
    for each in results:
        if each.load == "paced" and limit is not None and each.added > limit:
            return f"a paced chunk adds {each.added:,} instructions; the limit is {limit:,}"
    return None


def main() -> int:
    options = parse()
    if lack := missing():
        sys.exit(lack)
    cases = [case for case in CASES if not options.only or case.load in options.only]
    try:
        results = measure(cases, jobs=options.jobs)
    except (CountError, subprocess.TimeoutExpired) as error:
        sys.exit(str(error))
    print(json.dumps([asdict(each) for each in results]) if options.json else table(results))
    if excess := over_limit(results, options.limit):
        print(excess, file=sys.stderr)
    return int(excess is not None)


if __name__ == "__main__":
    sys.exit(main())
