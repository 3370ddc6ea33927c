"""The compatibility tables of the documentation, written from a run of the matrix.

`pytest --write-compatibility` collects what the matrix tests find out, and writes
docs/reference/compatibility.md at the end; a row or column without a result is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest

from tests.chat import node_clients, python_clients, test_use_chat
from tests.servers import ROOT, SERVERS
from tests.test_frameworks import FRAMEWORKS
from tests.test_middleware_servers import HIDES_ERRORS, MAIN, PLAIN
from tests.test_shutdown_servers import SCENARIOS

PAGE = ROOT / "docs" / "reference" / "compatibility.md"
RETROFITTED = {
    "by-hand": "hand-written ASGI",
    "starlette": "Starlette `StreamingResponse`",
    "starlette-middleware": "the same, inside CORS-, GZip- and BaseHTTPMiddleware",
    "fastapi": "FastAPI `EventSourceResponse`",
    "sse-starlette": "sse-starlette `EventSourceResponse`",
    "litestar": "Litestar `ServerSentEvent`",
    "quart": "Quart, async generator",
    "django": "Django `StreamingHttpResponse`",
}
PACKAGES = (
    "uvicorn", "hypercorn", "granian", "daphne", "gunicorn", "starlette", "fastapi", "litestar",
    "quart", "django", "blacksheep", "falcon", "sse-starlette", "openai", "anthropic",
)  # fmt: skip
HEAD = """# Compatibility

What was tested with what, and how it went. `pytest --write-compatibility` writes this page from
a run of the tests on real servers; nobody types it.

Versions: {versions}.
"""


CHAT = "Clients of a chat app"
CHAT_CLIENTS = (*python_clients.CLIENTS, *node_clients.CLIENTS, *test_use_chat.CLIENTS)


@dataclass(frozen=True)
class Table:
    """One table: which tests fill it, and what its rows are called."""

    title: str
    says: str
    first: str
    modules: tuple[str, ...]
    rows: tuple[str, ...]
    columns: dict[str, str]  # the function of a test, and its column
    row_of: Callable[[dict[str, Any]], str | None]


TABLES = (
    Table(
        "Servers",
        "An `EventStream` without a framework.",
        "Server",
        ("test_servers.py",),
        tuple(SERVERS),
        {
            "test_each_chunk_arrives_before_the_next_is_made": "Events one by one",
            "test_source_reads_the_json_body": "POST with JSON",
            "test_source_is_cleaned_up_at_once_when_its_client_leaves": "Disconnect",
            "test_source_that_fails_ends_with_an_error_event": "Error event",
            "test_comments_keep_an_idle_stream_alive": "Keep-alives",
            "test_send_that_takes_too_long_ends_the_stream": "Send deadline",
        },
        lambda params: params.get("name"),
    ),
    Table(
        "Shutdown",
        "Streams finish within the grace, the others get the farewell and a clean end, the hooks "
        "run to their end, and the process exits within a second of the grace. Each worker of "
        "granian had answered before the signal; [why](../how-to/granian.md).",
        "Server",
        ("test_shutdown_servers.py",),
        tuple(map(str, SCENARIOS)),
        {"test_server_that_is_told_to_stop_lets_its_streams_end_and_exits": "All of that"},
        lambda params: str(params.get("scenario")),
    ),
    Table(
        "Frameworks",
        "The examples of the how-to guides, on uvicorn.",
        "Framework",
        ("test_frameworks.py",),
        tuple(FRAMEWORKS),
        {
            "test_stream_arrives_and_its_text_is_kept": "Stream, POST with JSON",
            "test_client_that_leaves_ends_the_source_and_its_text_is_kept": "Disconnect",
            "test_source_that_fails_ends_with_an_error_event_and_is_logged": "Error event",
            "test_framework_rejects_before_the_stream": "Rejected before the stream",
            "test_server_that_is_told_to_stop_ends_the_stream_cleanly_and_exits": "Shutdown",
        },
        lambda params: params.get("name"),
    ),
    Table(
        "Endpoints that stream already",
        "Under `EventStreamMiddleware`, unchanged, on uvicorn.",
        "Endpoint",
        ("test_middleware_servers.py",),
        tuple(RETROFITTED[name] for name in PLAIN),
        {
            "test_stream_has_the_headers_and_is_transcribed": "Headers, transcript",
            "test_keep_alives_fill_the_silence": "Keep-alives",
            "test_client_that_leaves_is_noticed_and_the_text_is_kept": "Disconnect",
            "test_endpoint_that_fails_ends_with_an_error_event": "Error event",
        },
        lambda params: (
            RETROFITTED.get(params["pair"][1])
            if "pair" in params and params["pair"][0] == MAIN
            else None
        ),
    ),
    Table(
        "Behind nginx",
        "Debian's nginx with its defaults, HTTP/1.0 to the server; and as the how-to shows it.",
        "Server",
        ("test_nginx.py",),
        ("uvicorn-h11", "uvicorn-httptools", "hypercorn-asyncio"),
        {
            "test_events_arrive_one_by_one": "Events one by one",
            "test_client_that_leaves_reaches_the_source": "Disconnect",
            "test_post_with_a_body_streams": "POST with JSON",
        },
        lambda params: params.get("proxied"),
    ),
    Table(
        CHAT,
        "A `ChatApp` on uvicorn, and what its clients, unmodified, make of an answer that is not "
        "whole: each shows an error of its own, named here, with the message that we sent. None "
        "takes what it has for a complete answer.",
        "Client",
        ("test_clients.py", "test_use_chat.py"),
        CHAT_CLIENTS,
        {
            "test_a_generator_that_raises_is_an_error": "The generator raises",
            "test_an_upstream_that_is_cut_is_an_error": "Its upstream is cut",
            "test_a_server_that_is_told_to_stop_is_an_error": "SIGTERM",
            "test_a_generator_that_takes_too_long_is_an_error": "A deadline",
        },
        lambda params: params.get("client"),
    ),
)
CELLS = pytest.StashKey[dict[tuple[str, str, str], set[str]]]()


def note(item: pytest.Item, report: pytest.TestReport) -> None:
    """Keep the result of a test of the matrix."""
    params = getattr(getattr(item, "callspec", None), "params", None)
    if params is None or (report.when != "call" and report.passed):
        return
    cells = item.config.stash.setdefault(CELLS, {})
    for table in TABLES:
        column = table.columns.get(getattr(item, "originalname", ""))
        row = table.row_of(params) if column and item.path.name in table.modules else None
        if column and row:
            cells.setdefault((table.title, row, column), set()).add(
                word(table, row, column, report)
            )


def word(table: Table, row: str, column: str, report: pytest.TestReport) -> str:
    """Return what a cell says of one result."""
    if not report.passed:
        return "no"
    if table.title == CHAT:
        return dict(report.user_properties)["cell"]
    if column == "Error event" and row in map(RETROFITTED.get, HIDES_ERRORS):
        return "no: BaseHTTPMiddleware raises it after a clean end"
    if column == "Send deadline" and not SERVERS[row].blocks:
        return "the server takes everything"
    if column == "Send deadline" and not SERVERS[row].cancellable:
        return "when the client leaves"
    return "yes"


def write(config: pytest.Config) -> None:
    """Write the page from all that was noted."""
    PAGE.write_text(page(config.stash.get(CELLS, {})))


def page(cells: dict[tuple[str, str, str], set[str]]) -> str:
    """Return the whole page; every cell must have a result."""
    names = [f"{name} {version(name)}" for name in PACKAGES] + node_clients.versions()
    sections = (section(table, cells) for table in TABLES)
    return "\n".join([HEAD.format(versions=", ".join(names)), *sections])


def section(table: Table, cells: dict[tuple[str, str, str], set[str]]) -> str:
    columns = list(table.columns.values())
    lines = [row_text([table.first, *columns]), row_text(["---"] * (len(columns) + 1))]
    for row in table.rows:
        words = [sorted(cells[table.title, row, column]) for column in columns]
        lines.append(row_text([row, *(", ".join(each) for each in words)]))
    return "\n".join([f"## {table.title}", "", table.says, "", *lines, ""])


def row_text(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
