"""Ask the tests for mistakes: `python -m tests.mutants FOLDER...` makes mutants at random.

A mutant is the tree with one small mistake in one module of the folders: another comparison, `and`
for `or`, a lost `not`, another constant, another sign, None returned, a condition forced to True or
False, a removed statement, `break` for `continue`, `min` for `max`, two arguments swapped.
Whatever the tests do not notice they do not ask for: look at each survivor, and write the test, or
remove the code, or see that it makes no difference.

    python -m tests.mutants sse_asgi/stream --count 120 --seed 7 --jobs 2
    python -m tests.mutants sse_asgi/stream --count 120 --seed 7 --only 14 73   # two of them again
    python -m tests.mutants sse_asgi/stream --tests "tests/stream tests/test_app.py"

Each mutant lives in a scratch copy of the tree; the tree itself is only read. The tests that are
likely to catch it run first, and stop at the first failure, which must fail once more by itself. A
run that takes several times as long as one without a mutant has caught it, too. It exits 1 if a
mutant survives, and shows each survivor as a diff.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue

from .mutation import Mutation, sample
from .trial import ROOT, Scratch, TrialError, Verdict, files_in, in_stages

IN_PROCESS = (
    "tests/stream tests/source tests/host tests/shutdown tests/retrofit tests/test_app.py "
    "tests/test_middleware.py tests/test_endings.py tests/test_starlette.py "
    "tests/test_both_sides.py tests/test_testing.py"
)
LONGEST_CHECK = 900.0  # seconds
SLOWER, SLACK = 3.0, 30.0  # times, and seconds, that a run with a mutant may take


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.mutants", description="See which random mistakes the tests notice."
    )
    add = parser.add_argument
    add("folders", nargs="+", metavar="FOLDER", help="modules to change: folders or files")
    add("--count", type=int, default=120, help="mutants; 120 by default")
    add("--seed", type=int, default=1, help="chooses them")
    add("--tests", default=IN_PROCESS, help="files or folders; those in process by default")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="mutants at a time; one for a core")
    add("--only", type=int, nargs="+", default=[], metavar="N", help="the mutants of these numbers")
    return parser.parse_args(arguments)


def sources_in(folders: Sequence[str]) -> dict[str, bytes]:
    """Read the modules, by their path in the tree."""
    found: dict[str, bytes] = {}
    for folder in folders:
        path = ROOT / folder
        modules = [path] if path.is_file() else sorted(path.rglob("*.py"))
        if not modules:
            raise TrialError(f"there are no modules in {folder}")
        found |= {each.relative_to(ROOT).as_posix(): each.read_bytes() for each in modules}
    return found


class Judge:
    """Tries mutants, several at a time, and remembers which tests catch them."""

    def __init__(self, scratches: Sequence[Scratch], files: Sequence[str], limit: float) -> None:
        self._free: SimpleQueue[Scratch] = SimpleQueue()
        for scratch in scratches:
            self._free.put(scratch)
        self._files, self._limit = files, limit
        self._kills: Counter[tuple[str, str]] = Counter()

    def judge(self, number: int, mutation: Mutation) -> Verdict:
        scratch = self._free.get()
        try:
            stages = in_stages(self._files, mutation.path, self._kills)
            verdict = scratch.try_out(mutation, stages, self._limit)
        finally:
            self._free.put(scratch)
        self._kills[mutation.path, verdict.by.partition("::")[0]] += 1
        tell(number, mutation, verdict)
        return verdict


def tell(number: int, mutation: Mutation, verdict: Verdict) -> None:
    said = f"caught by {verdict.by}" if verdict.caught else "SURVIVED"
    place = f"{mutation.path}:{mutation.line}"
    print(f"{number:4} {place} {mutation.kind}: {said} ({verdict.seconds:.0f} s)", flush=True)


def run(options: argparse.Namespace) -> int:
    sources = sources_in(options.folders)
    chosen = dict(enumerate(sample(sources, count=options.count, seed=options.seed), 1))
    if options.only:
        chosen = {number: chosen[number] for number in options.only if number in chosen}
    files = files_in(ROOT, options.tests.split())
    with ExitStack() as stack:
        scratches = [stack.enter_context(Scratch()) for _ in range(options.jobs)]
        seconds = scratches[0].check(files, LONGEST_CHECK)
        print(f"{len(chosen)} mutants; the tests take {seconds:.0f} s without one", flush=True)
        judge = Judge(scratches, files, seconds * SLOWER + SLACK)
        with ThreadPoolExecutor(options.jobs) as pool:
            verdicts = dict(
                zip(chosen, pool.map(judge.judge, chosen, chosen.values()), strict=True)
            )
    survivors = [number for number in chosen if not verdicts[number].caught]
    for number in survivors:
        mutation = chosen[number]
        print(f"\nsurvivor {number}, {mutation.kind}\n{mutation.diff(sources[mutation.path])}")
    caught = len(chosen) - len(survivors)
    print(f"\n{caught} of {len(chosen)} caught, seed {options.seed}; survivors: {survivors}")
    return int(bool(survivors))


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        return run(parse(arguments))
    except TrialError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
