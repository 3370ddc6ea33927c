"""Counting instructions: that a count is repeatable, and that its limit is one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.bench import instructions
from tests.bench.instructions import Case, CountError, Result, count, measure, over_limit
from tests.conftest import require

pytestmark = pytest.mark.matrix

RESULT = Result("paced", raw=20_000, sse_asgi=31_000, added=11_000)


@pytest.mark.parametrize(("limit", "passes"), [(None, True), (11_000, True), (10_999, False)])
def test_the_limit_bounds_what_a_paced_chunk_adds(limit, passes):
    assert (over_limit([RESULT], limit) is None) is passes


def test_the_limit_is_for_paced_chunks_alone():
    assert over_limit([Result("opening", raw=1, sse_asgi=90_001, added=90_000)], 5_000) is None


def test_without_valgrind_the_command_says_so(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.instructions"],
        cwd=instructions.ROOT,
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "valgrind is not installed" in done.stderr


def test_a_program_that_fails_gives_no_count():
    require("valgrind")
    require("uvloop")
    with pytest.raises(CountError, match="KeyError: 'nothing'"):
        count("raw", "nothing", 1)


def test_the_same_work_counts_the_same():
    require("valgrind")
    require("uvloop")
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: count("sse_asgi", "opening", 2), range(2))
    assert first > 1_000_000
    assert first == pytest.approx(second, rel=0.001)


def test_a_result_is_what_more_work_costs_for_each_unit(monkeypatch):
    starts, costs = {"raw": 7_000, "sse_asgi": 9_000}, {"raw": 30, "sse_asgi": 50}
    monkeypatch.setattr(
        instructions, "count", lambda app, load, number: starts[app] + costs[app] * number * 20
    )
    (result,) = measure([Case("paced", few=5, many=15, per_unit=20)], jobs=1)
    assert result == Result("paced", raw=30, sse_asgi=50, added=20)
