"""The table of live's figures."""

import dataclasses

import pytest

from tests.bench import live, report

pytest.importorskip("redis")


def test_each_figure_stands_beside_its_aim() -> None:
    figures = {"memory_1": 9.96, "here_p50": 1.25, "here_rate": 9_400.0, "connections": 2.0}
    assert live.table(figures) == [
        ["live", "measured", "unit", "aim"],
        ["MemoryLog, 1 viewer, over the bare source", "10.0", "µs/chunk", "at most 10"],
        ["chunks that were yielded", "9,400", "chunks/s", "at least 9,500 (missed)"],
        ["yield to viewer, p50", "1.25", "ms", "at most 1 (missed)"],
        ["Redis connections of a process, 1,000 viewers", "2", "", "at most 12"],
    ]
    assert "at most 1 (missed)" in report.as_text(live.table(figures))


def test_every_case_of_the_command_exists() -> None:
    from tests.bench import live_cases

    assert set(live.CASES) <= set(live_cases.CASES)
    fields = [field.name for field in dataclasses.fields(live_cases.Stage)]
    assert fields == ["url", "pid", "core", "seconds"]  # in the order of the command's arguments
