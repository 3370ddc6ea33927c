"""A trial of one mutant: the tests run in a scratch copy of the tree that has the change."""

import contextlib
import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from .mutation import Mutation

ROOT = Path(__file__).resolve().parent.parent.parent
IGNORED = shutil.ignore_patterns(
    ".git", ".venv", "__pycache__", "node_modules", "site", ".*_cache", ".hypothesis", "*.egg-info"
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (.+?)(?: - .*)?$", re.MULTILINE)
TEST_TIMEOUT = 30.0  # seconds for one test, whose own waits are shorter
NO_TESTS = 5  # what pytest returns then
FIRST = 3  # test files in the first stage
_moments = itertools.count(1_000_000_000)


class TrialError(Exception):
    """The tests cannot judge mutants: they fail without any, or test another tree."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a mutant was caught, by which test, and after how many seconds."""

    caught: bool
    by: str
    seconds: float


class Scratch:
    """A copy of the tree in a folder of its own, for one trial after the other."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="mutants-")
        self.root = Path(self._folder.name) / "tree"
        shutil.copytree(ROOT, self.root, ignore=IGNORED)
        return self

    def __exit__(self, *_error: object) -> None:
        self._folder.cleanup()

    def write(self, path: str, source: bytes) -> None:
        """Write a module. Each has a time of its own: by that Python knows a stale cache."""
        (self.root / path).write_bytes(source)
        moment = next(_moments)
        os.utime(self.root / path, (moment, moment))

    def try_out(self, mutation: Mutation, stages: Sequence[Sequence[str]], limit: float) -> Verdict:
        """Run the tests with one change, stage by stage until one fails.

        Args:
            mutation: The change.
            stages: Test files; the ones that are likely to fail first.
            limit: Seconds for a stage; more counts as a failure.
        """
        original = (self.root / mutation.path).read_bytes()
        began = time.monotonic()
        self.write(mutation.path, mutation.apply(original))
        try:
            failures = (self.sure_failure(files, limit) for files in stages)
            by = next(filter(None, failures), "")
        finally:
            self.write(mutation.path, original)
        return Verdict(bool(by), by, time.monotonic() - began)

    def sure_failure(self, files: Sequence[str], limit: float) -> str:
        """As `failure`; a test that passes by itself has failed by chance, and all run again."""
        by = self.failure(files, limit)
        if "::" not in by or self.failure([by.partition("[")[0]], limit):
            return by
        return self.failure(files, limit)

    def failure(self, files: Sequence[str], limit: float) -> str:
        """Run test files; return the first test that fails, or an empty string."""
        code, output = self._run(pytest_command(files), limit)
        if code in {0, NO_TESTS}:
            return ""
        if code is None:
            return f"timeout after {limit:.0f} s"
        found = FAILED.search(output)
        return found[1] if found else f"pytest ended with {code}: {output[-300:].strip()}"

    def check(self, files: Sequence[str], limit: float) -> float:
        """Run the tests without any change; return their seconds.

        Raises:
            TrialError: They fail, or would import the package from elsewhere.
        """
        code = "import sse_asgi; print(sse_asgi.__file__)"
        _, place = self._run([sys.executable, "-c", code], limit)
        if not place.startswith(str(self.root)):
            raise TrialError(f"the tests would import sse_asgi from {place.strip()}")
        began = time.monotonic()
        if failed := self.failure(files, limit):
            raise TrialError(f"without any mutant, {failed} fails")
        return time.monotonic() - began

    def _run(self, command: Sequence[str], limit: float) -> tuple[int | None, str]:
        """Run in the copy; return the exit code, None if it was killed, and what it printed."""
        process = subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), "PYTEST_ADDOPTS": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            return None, ""
        finally:
            end_group(process)
        return process.returncode, output


def end_group(process: subprocess.Popen[str]) -> None:
    """End a process and all that it has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


def pytest_command(files: Sequence[str]) -> list[str]:
    return [
        sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=no",
        "-p", "no:cacheprovider",
        "-o", f"faulthandler_timeout={TEST_TIMEOUT}", "-o", "faulthandler_exit_on_timeout=true",
        *files,
    ]  # fmt: skip


def files_in(root: Path, places: Sequence[str]) -> list[str]:
    """Return the test files in places, which are files or folders of the tree.

    Raises:
        TrialError: A place has none.
    """
    files: list[str] = []
    for place in places:
        path = root / place
        found = [path] if path.is_file() else sorted(path.rglob("test_*.py"))
        if not found:
            raise TrialError(f"there are no tests in {place}")
        files += [each.relative_to(root).as_posix() for each in found]
    return list(dict.fromkeys(files))


def in_stages(files: Sequence[str], path: str, kills: Counter[tuple[str, str]]) -> list[list[str]]:
    """Order test files for a mutant of `path`: the likely killers alone first, then the rest.

    Likely is what caught a mutant of the same module before, then the tests that have its name,
    then what caught most of all.
    """
    name = f"test_{Path(path).stem}.py"

    def rank(file: str) -> tuple[int, bool, int]:
        everywhere = sum(number for (_, killer), number in kills.items() if killer == file)
        return -kills[path, file], Path(file).name != name, -everywhere

    ordered = sorted(files, key=rank)
    return [stage for stage in (ordered[:FIRST], ordered[FIRST:]) if stage]
