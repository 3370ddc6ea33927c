"""What a reader types into the search of the site finds the page that answers it.

The search of the site ranks a match in a title above one in a heading, and that above the text.
So the words of a query have to stand in a title, or in a heading.
"""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.util import find_spec

import pytest

from tests.documents import DOCS, ROOT

ANSWERS = {
    "openai": "how-to/recipes/openai.md",
    "anthropic": "how-to/recipes/anthropic.md",
    "langchain": "how-to/recipes/langchain.md",
    "pydantic ai": "how-to/recipes/pydantic-ai.md",
    "useChat": "how-to/use-chat.md",
    "authentication": "explanation/security.md",
    "security": "explanation/security.md",
    "contributing": "contributing.md",
    "cors": "how-to/cors.md",
    "save user": "how-to/save-chats.md",
    "rate limit": "how-to/faq.md",
    "disconnect": "how-to/disconnects-and-saving.md",
    "resume": "how-to/faq.md",
    "fastapi": "how-to/fastapi.md",
    "sse-starlette": "how-to/migrate.md",
    "sentry": "how-to/error-monitors.md",
    "performance": "explanation/performance.md",
}


@dataclass(frozen=True)
class Heading:
    page: str
    level: int
    text: str

    def answers(self, query: str) -> bool:
        """Tell whether each word of a query begins a word here."""
        words = words_of(self.text)
        return all(any(word.startswith(part) for word in words) for part in words_of(query))


def words_of(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def headings() -> list[Heading]:
    """Return the title and the headings of every page but the decisions and the changelog."""
    found = []
    for page in DOCS.rglob("*.md"):
        name = page.relative_to(DOCS).as_posix()
        if not name.startswith(("decisions/", "changelog")):
            prose = re.sub(
                r"^ *```.*?^ *```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE
            )
            marks = re.findall(r"^(#+) (.+)$", prose, re.MULTILINE)
            found += [Heading(name, len(mark), text) for mark, text in marks]
    return found


@pytest.mark.parametrize("query", ANSWERS)
def test_a_title_or_a_heading_of_the_page_that_answers_has_the_words(query):
    pages = {heading.page for heading in headings() if heading.answers(query)}
    assert ANSWERS[query] in pages


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """Build the site, in a copy, and return its search index."""
    if find_spec("zensical") is None:
        pytest.skip("needs zensical, of the extra docs")
    copy = tmp_path_factory.mktemp("site")
    for name in ("docs", "sse_asgi"):
        shutil.copytree(ROOT / name, copy / name)
    shutil.copy(ROOT / ".mkdocs.yml", copy)
    command = [sys.executable, "-m", "zensical", "build", "--strict", "-f", ".mkdocs.yml"]
    subprocess.run(command, cwd=copy, check=True, capture_output=True, timeout=120)
    return json.loads((copy / "site" / "search.json").read_text())["items"]


@pytest.mark.matrix
@pytest.mark.parametrize("query", ANSWERS)
def test_the_index_of_the_site_has_what_answers(index, query):
    place = ANSWERS[query].removesuffix(".md") + "/"
    titles = [item["title"] for item in index if item["location"].startswith(place)]
    assert any(Heading("", 1, re.sub("<.*?>", "", title)).answers(query) for title in titles)


@pytest.mark.matrix
def test_every_page_is_in_the_index(index):
    places = {item["location"].partition("#")[0] for item in index}
    pages = {page.relative_to(DOCS).as_posix().removesuffix(".md") for page in DOCS.rglob("*.md")}
    assert {f"{page}/" for page in pages - {"index"}} <= places
