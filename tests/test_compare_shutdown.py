"""The side-by-side table of shutdowns is complete, and still true."""

import re

import pytest

from tests.compare_shutdown import LIBRARIES, PAGE, SERVERS, watch_all
from tests.conftest import require
from tests.documents import tables_in

pytestmark = pytest.mark.matrix

SECONDS = re.compile(r"\d+\.\d s$")


def rows():
    ((*_, table),) = [tables_in(PAGE)]
    return {(server, library): rest for server, library, *rest in table}


def test_table_has_a_row_for_each_library_on_each_server():
    pairs = {(server, library) for server in SERVERS for library in LIBRARIES.values()}
    assert set(rows()) == pairs


def test_ours_end_cleanly_everywhere():
    for (_, library), (client, generator, exit_after) in rows().items():
        if library == LIBRARIES["own"]:
            assert (client, generator) == ("the farewell, a clean end", "ran")
            assert SECONDS.match(exit_after)


def test_what_the_table_says_of_uvicorn_still_happens():
    for part in ("uvicorn", "fastapi", "sse_starlette"):
        require(part)
    if not tables_in(PAGE):
        pytest.fail("run python -m tests.compare_shutdown")
    for (server, library), course in watch_all(["uvicorn"]).items():
        client, generator, exit_after = rows()[server, LIBRARIES[library]]
        assert (course.client, course.generator) == (client, generator), library
        assert (course.exit is not None) is bool(SECONDS.match(exit_after)), library
