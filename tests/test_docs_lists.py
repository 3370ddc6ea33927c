"""The lists in the documentation are complete, and its pages have the form they should have."""

import argparse
import importlib
import inspect
import re
import tomllib

import pytest

import sse_asgi
import sse_asgi.errors
from sse_asgi.chat import ChatApp
from sse_asgi.chat.setup import StreamOptions
from sse_asgi.cli.findings import CODES
from sse_asgi.cli.options import make_parser
from sse_asgi.client import EventSource
from sse_asgi.live import Live
from tests import documents
from tests.documents import DOCS, ROOT

HOW_TO = DOCS / "how-to"
REFERENCE = DOCS / "reference"


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


# Reference


def test_the_options_page_has_every_option_and_its_default():
    parameters = inspect.signature(sse_asgi.EventStream).parameters
    rows = documents.tables_in(REFERENCE / "options.md")[0]
    assert [row[0].strip("`") for row in rows] == [name for name in parameters if name != "source"]
    for name, default, *_ in rows:
        value = parameters[name.strip("`")].default
        shared = isinstance(value, sse_asgi.Shutdown)
        assert shared or value == eval(default.strip("`"), vars(sse_asgi)), name


def test_the_options_page_says_which_options_the_middleware_does_not_take():
    app = inspect.signature(sse_asgi.EventStream).parameters
    middleware = inspect.signature(sse_asgi.EventStreamMiddleware).parameters
    text = (REFERENCE / "options.md").read_text()
    (said,) = re.findall(r"takes them but for (.*?), which are", text, re.DOTALL)
    assert set(re.findall(r"`(\w+)`", said)) == {*app} - {*middleware} - {"source"}


def test_the_chat_page_says_which_options_a_chat_app_does_not_take():
    app = inspect.signature(sse_asgi.EventStream).parameters
    text = (REFERENCE / "chat.md").read_text()
    (said,) = re.findall(r"takes all others but (.*?), which", text, re.DOTALL)
    taken = {*StreamOptions.__annotations__, "source", "on_complete"}
    assert set(re.findall(r"`(\w+)`", said)) == {*app} - taken


def test_the_options_page_has_every_option_of_shutdown():
    parameters = inspect.signature(sse_asgi.Shutdown).parameters
    rows = documents.tables_in(REFERENCE / "options.md")[-1]
    assert {row[0].strip("`"): row[1].strip("`") for row in rows} == {
        name: repr(parameter.default) for name, parameter in parameters.items()
    }


@pytest.mark.parametrize(
    ("page", "number", "function", "first"),
    [
        ("live.md", 0, Live, None),
        ("live.md", 1, Live.start, "source"),
        ("client.md", 0, EventSource, "url"),
        ("chat.md", 0, ChatApp, "generate"),
    ],
    ids=["Live", "live.start", "EventSource", "ChatApp"],
)
def test_a_table_of_options_has_every_option_and_its_default(page, number, function, first):
    parameters = inspect.signature(function).parameters
    rows = documents.tables_in(REFERENCE / page)[number]
    assert [row[0].strip("`") for row in rows] == [
        name for name in parameters if name not in ("self", "options", first)
    ]
    for name, default, *_ in rows:
        value = parameters[name.strip("`")].default
        if not isinstance(value, sse_asgi.Shutdown) and "](#" not in default:
            assert value == eval(default.strip("`"), vars(sse_asgi)), name


def test_the_reference_has_every_public_name():
    text = "".join((REFERENCE / name).read_text() for name in ("api.md", "parts.md", "errors.md"))
    documented = set(re.findall(r"^::: sse_asgi\.(?:live\.|upstream\.)?(\w+)$", text, re.MULTILINE))
    errors = {name for name, value in vars(sse_asgi.errors).items() if inspect.isclass(value)}
    assert set(sse_asgi.__all__) | errors == documented


@pytest.mark.parametrize(
    ("page", "module"), [("dialects", "dialects"), ("chat", "chat"), ("upstream", "upstream")]
)
def test_a_page_has_every_public_name_of_its_module(page, module):
    text = (REFERENCE / f"{page}.md").read_text()
    documented = set(re.findall(rf"^::: sse_asgi\.{module}\.(\w+)$", text, re.MULTILINE))
    errors = {name for name, value in vars(sse_asgi.errors).items() if inspect.isclass(value)}
    assert documented == set(importlib.import_module(f"sse_asgi.{module}").__all__) - errors


def test_the_errors_page_has_the_tree_of_errors():
    (tree,) = documents.blocks_of(REFERENCE / "errors.md", "text")
    assert tree.text.strip() in (inspect.getdoc(sse_asgi.errors) or "")


def test_every_error_is_imported_as_the_errors_page_says():
    rows = documents.tables_in(REFERENCE / "errors.md")[0]
    said = {name.strip("`"): module.strip("`") for name, module, _ in rows}
    assert len(said) == len(rows)
    found = {name: getattr(importlib.import_module(module), name) for name, module in said.items()}
    assert found == {
        name: value for name, value in vars(sse_asgi.errors).items() if inspect.isclass(value)
    }
    exported = {name: [*importlib.import_module(module).__all__] for name, module in said.items()}
    assert [name for name in found if name not in exported[name]] == []


def test_the_errors_page_has_every_message_that_is_logged():
    code = "".join(path.read_text() for path in (ROOT / "sse_asgi").rglob("*.py"))
    messages = re.findall(r"""_logger\.\w+\(\s*"([^"%:]+)""", code)
    text = (REFERENCE / "errors.md").read_text()
    assert len(messages) > 5
    assert [each for each in messages if each.strip().split(" and ")[0] not in text] == []


def test_the_outcomes_are_all_explained():
    rows = documents.tables_in(HOW_TO / "disconnects-and-saving.md")[0]
    assert [row[0].strip("`") for row in rows] == [str(outcome) for outcome in sse_asgi.Outcome]


def test_the_command_line_pages_have_every_command_and_option():
    text = "".join(page.read_text() for page in REFERENCE.glob("cli*.md"))
    (commands,) = (
        action.choices
        for action in make_parser()._actions
        if isinstance(action, argparse._SubParsersAction)
    )
    for name, parser in commands.items():
        assert re.search(rf"^#+ .*\b{name}\b", text, re.MULTILINE), name
        for action in parser._actions:
            for option in action.option_strings:
                assert f"`{option}" in text or option in {"-h", "--help"}, f"{name} {option}"


def test_every_finding_of_the_doctor_is_explained_and_weighed():
    findings = set(CODES)
    rows = documents.tables_in(REFERENCE / "cli-listen-doctor.md")[-1]
    assert {name for row in rows for name in re.findall(r"`([\w-]+)`", row[0])} == findings
    _, _, weighed = (HOW_TO / "diagnose.md").read_text().partition("## What to heed")
    weighed = weighed.partition("\n## ")[0]
    assert len(findings) > 20
    assert {name for name in findings if f"`{name}`" not in weighed} == set()


# Explanation, decisions, changelog, site


def test_every_dependency_earns_its_place(project):
    library, extras = documents.tables_in(DOCS / "explanation" / "dependencies.md")
    assert [row[0] for row in library] == [package_of(each) for each in project["dependencies"]]
    declared = {
        (extra, package_of(each))
        for extra, requirements in project["optional-dependencies"].items()
        for each in requirements
    }
    explained = {(extra.strip("`"), package) for extra, package, reason in extras if reason}
    assert declared == explained


def package_of(requirement):
    return re.match(r"[\w.-]+", requirement)[0]


DECISIONS = sorted((DOCS / "decisions").glob("*.md"))


@pytest.mark.parametrize("page", DECISIONS, ids=lambda page: page.name)
def test_a_decision_says_what_why_and_what_was_rejected(page):
    text = page.read_text()
    number = DECISIONS.index(page) + 1
    assert page.name.startswith(f"{number:04d}-")
    assert text.startswith(f"# {number}. ")
    sections = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert sections == ["Context", "Decision", "Consequences", "Rejected"]
    assert len(text.splitlines()) <= 50


def test_the_changelog_begins_with_this_version(project):
    newest = re.search(r"^## (\S+) - (\S+)$", (DOCS / "changelog.md").read_text(), re.MULTILINE)
    assert newest[1] == project["version"]
    assert newest[2] == "unreleased" or re.fullmatch(r"\d{4}-\d\d-\d\d", newest[2])


def test_the_first_page_leads_to_every_other():
    links = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "index.md").read_text()))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    decisions = {page for page in pages if page.startswith("decisions/")}
    assert links - decisions == pages - decisions - {"index.md"}
    assert links & decisions


def test_the_site_shows_every_page():
    listed = re.findall(r"- (\S+\.md)$", (ROOT / ".mkdocs.yml").read_text(), re.MULTILINE)
    existing = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert len(listed) == len(set(listed))
    assert set(listed) == existing
