"""The security page names the tests that hold its promises."""

import re

from tests import documents
from tests.documents import DOCS, ROOT


def test_every_promise_names_tests_that_exist():
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    rows = documents.tables_in(DOCS / "explanation" / "security.md")[-1]
    named = {promise: re.findall(r"`(test_\w+)`", tests) for promise, tests in rows}
    assert len(named) > 5
    assert all(named.values())
    missing = [name for names in named.values() for name in names if f"def {name}(" not in code]
    assert missing == []
