"""Mutants: which changes are made, in which order tests run, and that the tree stays as it is."""

import textwrap
from collections import Counter

import pytest

from tests.mutants import trial
from tests.mutants.mutation import Mutation, mutations, sample
from tests.mutants.trial import ROOT, Scratch, TrialError, files_in, in_stages

pytestmark = pytest.mark.matrix


def mutants_of(code, kind=None):
    """Return the changed lines, without blanks around them."""
    source = textwrap.dedent(code).encode()
    found = []
    for each in mutations("module.py", source):
        if kind in {None, each.kind}:
            lines = each.apply(source).decode().splitlines()
            (changed,) = set(lines) - set(source.decode().splitlines())
            found.append(changed.strip())
    return found


@pytest.mark.parametrize(
    ("code", "kind", "expected"),
    [
        ("x = a < b", "comparison", ["x = (a <= b)", "x = (a >= b)"]),
        ("x = a is not b", "comparison", ["x = (a is b)"]),
        ("x = a and b", "boolean operator", ["x = (a or b)", "x = a", "x = b"]),
        ("x = not a", "not", ["x = a"]),
        ("x = True", "constant", ["x = False"]),
        ("x = 3", "constant", ["x = 4", "x = 6"]),
        ("x = 'text'", "constant", ["x = ''"]),
        ("x = b''", "constant", ["x = b'x'"]),
        ("x = a + b", "arithmetic", ["x = (a - b)"]),
        ("x -= b", "arithmetic", ["x += b"]),
        ("x = -a", "arithmetic", ["x = a"]),
        ("x = min(a, b)", "arguments", ["x = max(a, b)"]),
        ("x = call(a, b, c)", "arguments", ["x = call(b, a, c)"]),
        ("def f():\n  return a", "returned value", ["return None"]),
        (
            "x = a if b else c",
            "forced condition",
            ["x = a if False else c", "x = a if True else c"],
        ),
        ("while a:\n  pass", "forced condition", ["while False:"]),
        ("async def f():\n  await a()", "removed statement", ["pass"]),
        ("def f():\n  self.x = 1", "removed statement", ["pass"]),
        ("for a in b:\n  break", "jump", ["continue"]),
    ],
)
def test_each_kind_of_mistake(code, kind, expected):
    assert sorted(mutants_of(code, kind)) == sorted(expected)


@pytest.mark.parametrize(
    "code",
    [
        '"""A docstring."""',
        "import a",
        "Chunk = str | Event | None",
        "Take = Callable[[int, str], None]",
        "T = TypeVar('T', bound=int)",
        "__slots__ = ('a', 'b')",
        "def f(a: 'int' = b) -> 'str':\n  pass",
        "_logger.error('said %s', 3)",
        "@decorator(1, 2)\ndef f():\n  pass",
        "x = call()",
    ],
)
def test_what_no_test_could_see_is_left_alone(code):
    assert mutants_of(code) == []


def test_error_may_be_lost_but_its_words_stay():
    assert mutants_of("def f():\n  raise ValueError('wrong', 3)") == ["pass"]


def test_change_in_the_middle_of_a_line_beside_other_scripts():
    assert mutants_of("x = ['€', a < b]  # ü", "comparison") == [
        "x = ['€', (a <= b)]  # ü",
        "x = ['€', (a >= b)]  # ü",
    ]


def test_diff_shows_one_place():
    source = b"a = 1\nb = a < 2\nc = 3\n"
    (first, *_) = [each for each in mutations("m.py", source) if each.kind == "comparison"]
    changed = [line for line in first.diff(source).splitlines() if line[:1] in "+-"]
    assert changed == ["--- m.py", "+++ m.py", "-b = a < 2", "+b = (a <= 2)"]


def test_same_seed_chooses_the_same():
    sources = {"b.py": b"x = a < b\ny = 1\n", "a.py": b"z = a and b\n"}
    chosen = sample(sources, count=4, seed=7)
    assert len(set(chosen)) == 4
    assert sample(dict(reversed(sources.items())), count=4, seed=7) == chosen
    assert sample(sources, count=2, seed=7) == chosen[:2]
    assert sample(sources, count=99, seed=8) != sample(sources, count=99, seed=7)
    assert len(sample(sources, count=99, seed=7)) == 6


def test_change_that_changes_nothing_is_no_mutant():
    source = b"x = a if False else b\n"
    kinds = [(each.kind, each.new) for each in mutations("a.py", source)]
    assert ("forced condition", b"False") in kinds
    chosen = sample({"a.py": source}, count=9, seed=1)
    assert {each.new for each in chosen} == {b"True"}


def test_likely_killers_run_first():
    files = ["tests/a/test_x.py", "tests/a/test_y.py", "tests/a/test_z.py", "tests/test_w.py"]
    kills = Counter()
    assert in_stages(files, "p/y.py", kills)[0][0] == "tests/a/test_y.py"
    kills["p/other.py", "tests/test_w.py"] += 1
    assert in_stages(files, "p/y.py", kills)[0][:2] == ["tests/a/test_y.py", "tests/test_w.py"]
    kills["p/y.py", "tests/a/test_z.py"] += 1
    first, rest = in_stages(files, "p/y.py", kills)
    assert first == ["tests/a/test_z.py", "tests/a/test_y.py", "tests/test_w.py"]
    assert rest == ["tests/a/test_x.py"]


def test_place_without_tests_is_an_error():
    with pytest.raises(TrialError, match="no tests in tests/mutants"):
        files_in(ROOT, ["tests/mutants"])
    assert "tests/wire/test_text.py" in files_in(ROOT, ["tests/wire", "tests/wire/test_text.py"])


PATH = "sse_asgi/wire/text.py"
TESTS = ["tests/wire/test_text.py"]


@pytest.fixture(scope="module")
def scratch():
    with Scratch() as copy:
        yield copy


def trial_of(scratch, old, new, limit=60.0):
    source = (ROOT / PATH).read_bytes()
    start = source.index(old)
    mutation = Mutation(PATH, 1, "test", start, start + len(old), new)
    verdict = scratch.try_out(mutation, [TESTS], limit)
    assert (ROOT / PATH).read_bytes() == (scratch.root / PATH).read_bytes() == source
    return verdict


def test_tests_run_in_the_copy_and_pass_without_a_mutant(scratch):
    assert scratch.check(TESTS, 60.0) > 0


def test_mistake_is_caught_by_a_named_test(scratch):
    verdict = trial_of(scratch, b"self.text", b"self.tixt")
    assert verdict.caught
    assert verdict.by.startswith("tests/wire/test_text.py")


def test_change_that_makes_no_difference_survives(scratch):
    assert not trial_of(scratch, b'"""', b'""" ').caught


def test_module_that_hangs_is_caught(scratch):
    verdict = trial_of(scratch, b"\nclass ", b"\nwhile True: pass\nclass ", limit=3.0)
    assert verdict.by == "timeout after 3 s"


def test_single_test_that_hangs_is_caught(scratch, monkeypatch, tmp_path):
    monkeypatch.setattr(trial, "TEST_TIMEOUT", 0.5)
    hanging = tmp_path / "test_hanging.py"
    hanging.write_text("import threading\ndef test_it(): threading.Event().wait()")
    assert scratch.failure([str(hanging)], 60.0).startswith("pytest ended with")


FLAKY = """
import pathlib

def test_it():
    runs = pathlib.Path(__file__).with_name("runs")
    runs.write_text((runs.read_text() if runs.exists() else "") + "x")
    assert len(runs.read_text()) > {failures}
"""


@pytest.mark.parametrize(("failures", "caught"), [(0, False), (1, False), (2, True)])
def test_test_that_fails_by_chance_has_caught_nothing(scratch, tmp_path, failures, caught):
    flaky = tmp_path / "test_flaky.py"
    flaky.write_text(FLAKY.format(failures=failures))
    assert bool(scratch.sure_failure([str(flaky)], 60.0)) is caught


def test_tests_that_fail_without_a_mutant_judge_nothing(scratch, tmp_path):
    failing = tmp_path / "test_failing.py"
    failing.write_text("def test_it(): assert False")
    with pytest.raises(TrialError, match=r"without any mutant, .*test_it fails"):
        scratch.check([str(failing)], 60.0)
