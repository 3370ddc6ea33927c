"""The compatibility tables are those of the matrix, and show that it is green."""

import pytest

from tests.compatibility import CHAT_CLIENTS, PAGE, RETROFITTED, TABLES
from tests.documents import tables_in
from tests.servers import SERVERS
from tests.test_middleware_servers import HIDES_ERRORS

pytestmark = pytest.mark.matrix


def test_page_names_exactly_the_rows_and_columns_of_the_matrix():
    sections = PAGE.read_text().split("\n## ")[1:]
    assert [section.partition("\n")[0] for section in sections] == [one.title for one in TABLES]
    for section, table in zip(sections, TABLES, strict=True):
        lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:1] == "|"]
        assert lines[0] == [table.first, *table.columns.values()]
        assert [line[0] for line in lines[2:]] == list(table.rows)


def test_every_row_is_green_but_for_known_limits():
    allowed = {
        (RETROFITTED[name], "no: BaseHTTPMiddleware raises it after a clean end")
        for name in HIDES_ERRORS
    } | {
        (name, "the server takes everything" if not kind.blocks else "when the client leaves")
        for name, kind in SERVERS.items()
        if not (kind.blocks and kind.cancellable)
    }
    rows = [row for table in tables_in(PAGE) for row in table]
    assert len(rows) == sum(len(table.rows) for table in TABLES)
    seen = {(row[0], cell) for row in rows for cell in row[1:] if cell != "yes"}
    assert {each for each in seen if each[0] not in CHAT_CLIENTS} == allowed


def test_every_client_of_a_chat_app_shows_an_error_of_its_own():
    rows = [row for table in tables_in(PAGE) for row in table if row[0] in CHAT_CLIENTS]
    assert len(rows) == len(CHAT_CLIENTS)
    assert all(cell[0] == cell[-1] == "`" for row in rows for cell in row[1:])
