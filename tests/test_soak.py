"""The soak: its short form passes, and it notices what it is there to notice."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sse_asgi import JSONFraming, Outcome, TextFraming, Transcript
from tests.conftest import require
from tests.servers import ROOT
from tests.soak.ledger import Ledger, PlannedError, is_planned, wrong_with
from tests.soak.plan import plan_of
from tests.soak.state import State
from tests.together import together

pytestmark = pytest.mark.matrix

PLAN = replace(
    plan_of(1, 1, sockets=False),
    chunks=("one\r", "two"),
    framing=TextFraming(),
    fault="",
    on_chunk="",
    cleanup="",
    client="reads",
    record=True,
)
TRANSCRIPT = Transcript(
    text="one\rtwo",
    outcome=Outcome.COMPLETED,
    chunks=2,
    sent_chunks=2,
    error=None,
    started_at=datetime.now(UTC),
    time_to_first_chunk=0.0,
    duration=0.0,
)
STATE = State(rss=50 * 2**20, blocks=100_000, objects={"Stream": 1}, tasks=1, threads=1, files=9)


@pytest.mark.parametrize(
    "arguments",
    [
        "--loop uvloop --seconds 12",
        "--loop asyncio --no-uvicorn --seconds 6",
        "--loop trio --no-uvicorn --seconds 6",
    ],
    ids=["uvloop and uvicorn", "asyncio", "trio"],
)
@together("arguments")
def test_short_soak_breaks_no_rule(arguments):
    require("uvicorn")
    done = subprocess.run(
        [sys.executable, "-m", "tests.soak", "--streams", "100", *arguments.split()],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "shut_down" in done.stdout


def test_plan_follows_from_its_seed_and_number():
    assert plan_of(3, 7, sockets=True) == plan_of(3, 7, sockets=True)
    assert len({plan_of(3, number, sockets=True) for number in range(50)}) == 50


@pytest.mark.parametrize(
    ("text", "ended", "produced", "problem"),
    [
        ("one\ntw", False, 2, None),
        ("one\ntwo", True, 2, None),
        ("one\nt", False, 1, "never produced"),
        ("one\rtwo", False, 2, "never produced"),
        ("one\n", True, 2, "end marker came after 4"),
    ],
)
def test_text_of_a_client_is_compared_with_what_was_produced(text, ended, produced, problem):
    wrong = wrong_with(text, ended=ended, plan=PLAN, produced=produced)
    assert wrong is None if problem is None else problem in wrong


def test_json_framing_must_keep_every_character():
    plan = replace(PLAN, framing=JSONFraming())
    assert wrong_with("one\rtwo", ended=True, plan=plan) is None
    assert "never produced" in wrong_with("one\ntwo", ended=True, plan=plan)


def judged(*transcripts, hooks_ended=None, error=None, plan=PLAN):
    ledger = Ledger()
    entry = ledger.enter(plan)
    entry.began = True
    entry.told.extend(transcripts)
    entry.hooks_ended = len(transcripts) if hooks_ended is None else hooks_ended
    ledger.leave(entry, error)
    assert not ledger.open
    return ledger.problems


def test_stream_without_fault_breaks_no_rule():
    assert judged(TRANSCRIPT) == []


@pytest.mark.parametrize(
    ("transcripts", "more", "problem"),
    [
        ([], {}, "called 0 times"),
        ([TRANSCRIPT] * 2, {}, "called 2 times"),
        ([TRANSCRIPT], {"hooks_ended": 0}, "cut off"),
        ([TRANSCRIPT], {"error": KeyError("x")}, "raised KeyError"),
        ([replace(TRANSCRIPT, outcome=Outcome.FAILED)], {}, "cannot be in failed"),
        ([replace(TRANSCRIPT, text="other")], {}, "never produced"),
        ([replace(TRANSCRIPT, sent_chunks=3)], {}, "3 of 2 of 2 chunks sent"),
        ([replace(TRANSCRIPT, chunks=1, sent_chunks=1)], {}, "1 chunks of 2"),
    ],
)
def test_each_broken_rule_is_a_problem(transcripts, more, problem):
    (first,) = judged(*transcripts, **more)
    assert problem in first
    assert "number=1" in first


def test_planned_exceptions_may_come_in_groups():
    assert is_planned(ExceptionGroup("", [PlannedError(), ExceptionGroup("", [PlannedError()])]))
    assert not is_planned(ExceptionGroup("", [PlannedError(), ValueError()]))


@pytest.mark.parametrize(
    ("change", "grown"),
    [
        ({"tasks": 2}, ["tasks: 1 before, 2 after"]),
        ({"threads": 2}, ["threads: 1 before, 2 after"]),
        ({"files": 10}, ["files: 9 before, 10 after"]),
        ({"objects": {"Stream": 99}}, ["Stream objects: 1 before, 99 after"]),
        ({"objects": {"Timer": 99}}, ["Timer objects: 0 before, 99 after"]),
        ({"blocks": 110_000}, ["blocks: 100,000 before, 110,000 after"]),
        ({"rss": 99 * 2**20}, ["RSS: 50 MiB before, 99 after"]),
        ({"tasks": 0, "rss": 51 * 2**20, "blocks": 100_100, "objects": {}}, []),
    ],
)
def test_what_has_grown_is_told(change, grown):
    assert replace(STATE, **change).growth(STATE) == grown
