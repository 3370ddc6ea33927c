"""The table of what dialects cost, and that every contestant does the work it is measured by."""

import asyncio

import pytest

from sse_asgi import EventStreamDecoder
from tests.bench import dialects, report
from tests.bench.dialects import BURST, BY_HAND, CHAT, FRAMINGS, JSON, NOTHING, Load
from tests.bench.stub import CHUNKS, SCOPE, Connection, burst


class Recorded(Connection):
    def __init__(self) -> None:
        super().__init__()
        self.body = b""

    async def send(self, message) -> None:
        self.body += message.get("body", b"")
        await super().send(message)


def body_of(app) -> bytes:
    connection = Recorded()
    asyncio.run(app(dict(SCOPE), connection.receive, connection.send))
    return connection.body


@pytest.mark.parametrize("name", [*FRAMINGS, BY_HAND])
def test_every_contestant_sends_the_whole_text(name) -> None:
    contestants = dialects.contestants()
    if name not in contestants:
        pytest.skip("fastapi is not installed")
    decode = FRAMINGS.get(name, FRAMINGS[CHAT]).decoder()
    found = [
        decode(event) for event in EventStreamDecoder().feed(body_of(contestants[name](burst)))
    ]
    items = [item for each in found for item in (each if isinstance(each, tuple) else (each,))]
    assert "".join(item for item in items if isinstance(item, str)) == "".join(CHUNKS)


def test_the_app_that_sends_nothing_sends_no_text() -> None:
    assert body_of(dialects.nothing(burst)) == b""


def test_a_table_has_what_is_added_and_the_ratio_to_json() -> None:
    paced = {NOTHING: 10.0, JSON: 20.0, CHAT: 25.0}
    bursts = {NOTHING: 0.1, JSON: 0.5, CHAT: 1.35}
    lines = dialects.table(dialects.results(paced, bursts))
    assert lines[1:] == [
        ["nothing sent", "10.0", "0.0", "0.50", "0.10", "0.00"],
        ["JSONFraming", "20.0", "10.0", "1.00", "0.50", "0.40"],
        ["ChatCompletions", "25.0", "15.0", "1.25", "1.35", "1.25"],
    ]
    assert "ChatCompletions" in report.as_text(lines)


def test_a_cost_is_the_least_run_for_each_chunk(monkeypatch) -> None:
    seconds = iter([0.005, 0.9, 0.7, 0.010])  # of the two in turn, twice

    async def cpu_seconds(app, streams, *, together):
        return next(seconds)

    monkeypatch.setattr(dialects, "cpu_seconds", cpu_seconds)
    load = Load(BURST.source, chunks=500, streams=10, together=False)
    costs = dialects.least(load, {CHAT: dialects.nothing, NOTHING: dialects.nothing}, runs=2)
    assert costs == pytest.approx({CHAT: 1.0, NOTHING: 2.0})
