"""Medians, ratios and marks of the table."""

import math

import pytest

from tests.bench import report
from tests.bench.report import Row


def row(name: str, server: str = "uvicorn", **runs: list[float]) -> Row:
    return Row(name, name, server, {key: dict(enumerate(each)) for key, each in runs.items()})


def test_a_ratio_is_taken_within_each_round() -> None:
    raw, mine = row("raw", idle=[10.0, 20.0, 40.0]), row("mine", idle=[15.0, 30.0, 60.0])
    assert mine.ratio("idle", raw) == pytest.approx(1.5)
    del mine.runs["idle"][0]  # a round that failed
    assert mine.ratio("idle", raw) == pytest.approx(1.5)


def test_the_raw_loop_of_the_same_server_counts() -> None:
    uvicorn, granian = row("raw"), row("raw", "granian")
    rows = [uvicorn, granian]
    assert report.raw_of(row("mine", "granian"), rows) is granian
    assert report.raw_of(row("other", "node"), rows) is uvicorn


def test_a_table_has_no_ratio_for_the_raw_loop_and_leaves_out_what_nobody_measured() -> None:
    rows = [row("raw", idle=[10.0]), row("mine", idle=[15.0])]
    assert report.table(rows) == [
        ["", "server", "idle stream, KiB"],
        ["raw", "uvicorn", "10.0"],
        ["mine", "uvicorn", "15.0 (1.50)"],
    ]


def test_runs_that_lie_apart_are_marked() -> None:
    assert row("mine", idle=[10.0, 15.0, 20.0]).noisy("idle")
    assert not row("mine", idle=[10.0, 10.1, 10.2]).noisy("idle")


def test_a_source_that_is_never_ended_is_said_so() -> None:
    never = row("raw", disconnect=[math.inf, math.inf, math.inf])
    assert report.table([never])[1] == ["raw", "uvicorn", "never"]
    assert report.as_json([never])[0]["figures"]["disconnect"]["median"] is None


def test_a_failed_round_leaves_an_empty_cell() -> None:
    assert report.table([row("raw", idle=[1.0]), row("mine")])[2] == ["mine", "uvicorn", ""]
