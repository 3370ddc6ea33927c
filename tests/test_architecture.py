"""The house is built as the architecture page draws it."""

import re
import subprocess
import sys
import tomllib

import pytest

from tests import documents
from tests.documents import DOCS, ROOT

PAGE = DOCS / "explanation" / "architecture.md"
PACKAGE = ROOT / "sse_asgi"
LONGEST_PAGE = 200


@pytest.fixture(scope="module")
def layers():
    """Give the layers that import-linter enforces, the highest first."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    (contract,) = (each for each in tools["importlinter"]["contracts"] if each["type"] == "layers")
    assert contract["exhaustive"]
    return contract["layers"]


def test_the_page_lists_the_layers_that_are_enforced(layers):
    drawn = documents.blocks_of(PAGE, "text")[0].text.splitlines()
    assert [line.partition("  ")[0] for line in drawn] == layers


def test_the_page_names_every_module_of_the_lower_floors():
    modules = [
        path.relative_to(PACKAGE).as_posix()
        for floor in ("wire", "stream")
        for path in sorted((PACKAGE / floor).glob("*.py"))
        if path.name != "__init__.py"
    ]
    text = PAGE.read_text()
    assert [module for module in modules if f"`{module}`" not in text] == []


def test_the_page_names_no_module_that_is_gone():
    rows = documents.tables_in(PAGE)[-1]
    named = [name for row in rows for name in re.findall(r"`(\S+\.py)`", row[1])]
    assert len(named) > 20
    assert [name for name in named if not (PACKAGE / name).exists()] == []


def test_the_page_is_short_enough_to_be_read():
    assert len(PAGE.read_text().splitlines()) <= LONGEST_PAGE


def test_no_file_of_the_package_is_longer_than_300_lines():
    long = [path for path in PACKAGE.rglob("*.py") if len(path.read_text().splitlines()) > 300]
    assert long == []


def test_the_package_needs_nothing_but_anyio():
    """Import it where everything that is not the standard library's or anyio's is missing."""
    code = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in banned:
            raise ModuleNotFoundError(f"{name} is an extra", name=name)

banned = {"starlette", "uvicorn", "httpx", "httpx2", "redis", "trio", "fastapi", "hypercorn"}
sys.meta_path.insert(0, Missing())
import sse_asgi, sse_asgi.testing, sse_asgi.cli
assert not banned & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, timeout=60)
