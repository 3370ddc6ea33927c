"""The house is built as the architecture page draws it."""

import re
import subprocess
import sys
import tomllib
from xml.etree import ElementTree as ET

import pytest

from tests import documents
from tests.documents import DOCS, ROOT

PAGE = DOCS / "explanation" / "architecture.md"
PICTURES = ("layers.svg", "chunk.svg", "ending.svg")
SVG = "{http://www.w3.org/2000/svg}"
ROOMS = ("wire", "host", "source", "shutdown", "stream", "retrofit")
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


def test_the_picture_of_the_layers_shows_the_same(layers):
    boxes = [
        (float(text.get("y")), float(text.get("x")), text.text)
        for text in parse(PAGE.with_name("layers.svg")).iter(f"{SVG}text")
        if text.get("class") == "name"
    ]
    drawn = [name for _, _, name in sorted(boxes)]
    assert drawn == [name.strip() for layer in layers for name in layer.split("|")]


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_shown_and_can_be_read_in_the_dark(name):
    picture = PAGE.with_name(name)
    assert f"]({name})" in PAGE.read_text()
    assert parse(picture).find(f"{SVG}title").text
    style = picture.read_text().partition("<style>")[2].partition("</style>")[0]
    light, dark = style.split("@media (prefers-color-scheme: dark)")
    assert coloured(light) == coloured(dark) != set()


def coloured(style):
    """Return the selectors whose rules set a colour."""
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", style)
    listed = [selectors for selectors, rule in rules if ": #" in rule]
    return {each.strip() for selectors in listed for each in selectors.split(",")}


def parse(picture):
    return ET.fromstring(picture.read_text())


def test_the_page_names_every_module_of_the_lower_floors():
    modules = [
        path.relative_to(PACKAGE).as_posix()
        for room in ROOMS
        for path in sorted((PACKAGE / room).glob("*.py"))
        if path.name != "__init__.py"
    ]
    text = "".join(row[1] for row in documents.tables_in(PAGE)[-1])
    assert [module for module in modules if f"`{module}`" not in text] == []


def test_the_page_names_no_module_that_is_gone():
    text = PAGE.read_text()
    named = re.findall(r"`([\w/]+(?:\.py|/))`", text)
    assert len(named) > 60
    places = (ROOT, PACKAGE, ROOT / "tests")
    assert [name for name in named if not any((at / name).exists() for at in places)] == []


def test_every_row_says_which_tests_to_run():
    rows = documents.tables_in(PAGE)[-1]
    named = [re.findall(r"`(\S+)`", row[2]) for row in rows]
    assert all(named)
    tests = {name for names in named for name in names}
    assert [name for name in tests if not (ROOT / "tests" / name).exists()] == []
    folders = {name for name in tests if (ROOT / "tests" / name).is_dir()}
    assert set(ROOMS) <= folders


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
