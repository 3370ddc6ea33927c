"""The pages for those who run streams: their code does what they say, and their figures add up."""

import re

import pytest

from sse_asgi.compression import _IN_VAIN
from sse_asgi.telemetry.names import NAMES
from sse_asgi.testing import connect
from tests import documents
from tests.bench.dialects import FRAMINGS
from tests.documents import DOCS

HOW_TO = DOCS / "how-to"


@pytest.fixture(scope="module")
def anyio_backend():
    return "asyncio"


def number(pattern, text):
    return float(re.search(pattern, text)[1])


def test_each_time_of_a_deployment_holds_what_is_within_it():
    page = (HOW_TO / "deploy.md").read_text()
    grace = documents.run(HOW_TO / "deploy.md")["shutdown"].grace
    limit = number(r'graceful-shutdown", "(\d+)"', page)
    sleep = number(r"sleep: { seconds: (\d+) }", page)
    assert grace < limit
    assert sleep + limit < number(r"terminationGracePeriodSeconds: (\d+)", page)
    unit = page.partition("[Service]")[2]
    assert number(r"graceful-shutdown (\d+)", unit) == limit
    assert limit < number(r"TimeoutStopSec=(\d+)", unit)


@pytest.mark.anyio
async def test_the_app_that_is_deployed_streams_and_says_that_it_is_ready():
    names = documents.run(HOW_TO / "deploy.md")
    async with connect(names["app"], "/ready/") as probe:
        assert (probe.status, await probe.read()) == (200, b"ready\n")
    async with connect(names["app"], "/answer/") as answer:
        assert [event.data async for event in answer] == ["Hello", "[DONE]"]
    names["shutdown"].begin()
    async with connect(names["app"], "/ready/") as probe:
        assert probe.status == 503


@pytest.mark.anyio
async def test_streams_are_bounded_as_the_page_says():
    names = documents.run(HOW_TO / "limit-streams.md")
    held = [names["limits"]._places.take("ann") for _ in range(2)]
    for app, asks in (
        (names["app"], "/"),
        (names["EventStream"](["a"], limits=names["limits"]), "/"),
    ):
        async with connect(app, asks, headers={"authorization": "ann"}) as refused:
            assert refused.status == 429
            shown = documents.blocks_of(HOW_TO / "limit-streams.md", "text")[0].text
            assert (await refused.read()).decode() == shown.splitlines()[-1]
            assert all(f"{name}: " in shown for name in ("retry-after", "cache-control"))
    for place in held:
        place.release()
    async with connect(names["app"], headers={"authorization": "ann"}) as admitted:
        assert [event.data async for event in admitted] == ["Hello"]


@pytest.mark.anyio
async def test_text_is_joined_as_the_page_says():
    names = documents.run(HOW_TO / "join-text.md")
    async with connect(names["stream"]) as answer:
        data = [event.data async for event in answer]
    assert data[0] == "Hello"
    assert "".join(data) == "Hello, world![DONE]"
    assert len(data) <= 5  # on a busy machine a window holds what it can


def test_the_reference_has_every_name_that_telemetry_tells():
    rows = documents.tables_in(DOCS / "reference" / "operation.md")[1]
    assert sorted(row[0].strip("`") for row in rows) == sorted(NAMES.values())


def test_the_queries_ask_for_names_that_there_are():
    page = (HOW_TO / "telemetry.md").read_text()
    asked = set(re.findall(r"sse_server_\w+", page))
    units = ("_seconds_bucket", "_seconds_count", "_total", "")
    known = {name.replace(".", "_") + unit for name in NAMES.values() for unit in units}
    assert asked
    assert asked <= known


def test_the_table_of_compression_has_every_framing_and_shows_what_is_in_vain():
    rows = documents.tables_in(HOW_TO / "compression.md")[0]
    assert [row[0].strip("`") for row in rows] == [*FRAMINGS]
    for name, *figures in rows:
        plain, gzip, _, zstd, _ = map(float, figures)
        in_vain = _IN_VAIN.get(type(FRAMINGS[name.strip("`")]), ())
        assert (gzip > plain * 0.8, zstd > plain * 0.8) == ("gzip" in in_vain, "zstd" in in_vain)


@pytest.mark.anyio
async def test_the_document_of_the_page_describes_both_streams():
    app = documents.run(HOW_TO / "openapi.md")["app"]
    paths = app.openapi()["paths"]
    for path in ("/answer", "/work"):
        content = paths[path]["get"]["responses"]["200"]["content"]["text/event-stream"]
        assert len(content["itemSchema"]["anyOf"]) >= 2
    components = app.openapi()["components"]["schemas"]
    assert {*components} >= {"ChatCompletionsChunk", "Progress", "Result"}
    async with connect(app, "/work") as work:
        assert [event.type async for event in work] == ["progress", "message", "message"]
