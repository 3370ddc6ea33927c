"""The documentation, as tests see it: pages, their fenced blocks, and what these define."""

import re
import sys
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
README = ROOT / "README.md"

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>.*)\n(?P<text>(?:.*\n)*?)(?P=indent)```$", re.MULTILINE
)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the line of the page where it begins."""

    page: Path
    line: int
    language: str
    text: str

    def code(self) -> Any:
        """Return the block compiled, so that a traceback points into the page."""
        return compile("\n" * (self.line - 1) + self.text, str(self.page), "exec")


def pages() -> list[Path]:
    """Return every page of the documentation, and the README."""
    return [README, *sorted(DOCS.rglob("*.md"))]


def name_of(page: Path) -> str:
    """Return a page's path, as the tests show it."""
    return page.relative_to(ROOT).as_posix()


def blocks_of(page: Path, language: str | None = None) -> list[Block]:
    """Return a page's fenced blocks, of one language or all."""
    text = page.read_text()
    found = [
        Block(
            page,
            text.count("\n", 0, match.start("text")) + 1,
            match["language"],
            textwrap.dedent(match["text"]),
        )
        for match in _FENCE.finditer(text)
    ]
    return [block for block in found if language in (None, block.language)]


def run(page: Path) -> dict[str, Any]:
    """Run a page's Python blocks, in order, and return what they have defined together."""
    module = types.ModuleType(name_of(page))
    sys.modules[module.__name__] = module  # where frameworks look up annotations
    for block in blocks_of(page, "python"):
        exec(block.code(), vars(module))
    return vars(module)


def tests_in(page: Path) -> list[str]:
    """Return the names of the tests that a page shows."""
    code = "".join(block.text for block in blocks_of(page, "python"))
    return re.findall(r"^(?:async )?def (test_\w+)\(", code, re.MULTILINE)


def commands_in(page: Path) -> list[str]:
    """Return the commands of a page's shell blocks, one for each line, without comments."""
    lines = [line for block in blocks_of(page, "sh") for line in block.text.splitlines()]
    return [command for line in lines if (command := line.partition("  #")[0].strip())]


def tables_in(page: Path) -> list[list[list[str]]]:
    """Return a page's tables: rows of cells, without the head."""
    tables: list[list[list[str]]] = []
    inside = False
    for line in page.read_text().splitlines():
        if not line.startswith("|"):
            inside = False
        elif re.fullmatch(r"[|\s:-]+-[|\s:-]+", line):
            tables.append([])
            inside = True
        elif inside:
            cells = re.split(r"(?<!\\)\|", line.strip().strip("|"))
            tables[-1].append([cell.strip() for cell in cells])
    return tables
