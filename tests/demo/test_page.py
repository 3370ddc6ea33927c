"""The demo as its users see it: a real server, a real browser."""

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from sse_asgi import EventStreamDecoder
from sse_asgi.testing import connect
from tests.cli import commands
from tests.demo.endpoints import fake_endpoint
from tests.demo.fake_openai import AWKWARD
from tests.demo.tab import Demo
from tests.servers import wait_for

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with fake_endpoint(tmp_path_factory.mktemp("endpoint")) as running:
        yield running


@pytest.fixture(scope="module")
def demo_of_endpoint(tmp_path_factory, endpoint):
    environment = {"OPENAI_BASE_URL": f"{endpoint.url}/one/v1", "OPENAI_MODEL": "tiny"}
    directory = tmp_path_factory.mktemp("demo")
    with commands.serving("demo", directory=directory, environment=environment) as running:
        yield running


def test_the_six_lines_are_what_it_takes(demo, open_demo):
    tab = open_demo(demo)
    code = tab.text("live-code")
    assert len(code.splitlines()) == 6
    names = {}
    exec(f"{IMPORTS}\n{code}", names)  # as a user would run it
    app = names["Starlette"](routes=names["routes"])

    async def ask():
        async with connect(app, "/answers/one", method="POST") as connection:
            first = await anext(connection)
            await connection.disconnect()
        headers = {"last-event-id": first.last_event_id}
        async with connect(app, "/answers/one", headers=headers) as connection:
            return [first.data, *[event.data async for event in connection]]

    with ThreadPoolExecutor() as threads:  # this thread has playwright's loop
        assert threads.submit(asyncio.run, ask()).result() == ["one ", "two", "[DONE]"]


IMPORTS = """
import asyncio
from starlette.applications import Starlette
from starlette.routing import Mount, Route
from sse_asgi.live import Live, MemoryLog

async def model(request):
    yield "one "
    await asyncio.sleep(0.01)
    yield "two"
"""


def test_a_cut_connection_loses_nothing_and_a_plain_answer_begins_again(demo, open_demo, hurry):
    tab = open_demo(demo)
    tab.wait_for_chunks(20)
    tab.button("Cut the connection").click()
    wait_for(lambda: tab.page.locator("#live-wire").get_attribute("data-link") == "cut", what="cut")
    live, plain = tab.wait_for_row("Cut the connection")
    assert live[:2] == [0, 0]
    assert live[2].startswith("went on after ")
    assert plain[0] == 0
    assert plain[1] > 20
    assert tab.verdict == "identical"
    assert "0 characters lost, 0 doubled. Plain: 0 characters lost" in tab.text("verdict")
    hurry()
    live, end = tab.wait_for_end()
    assert (live[:2], end[:2]) == ([0, 0], plain[:2])
    assert tab.score("live") == (0, 0)
    assert tab.score("plain") == tuple(plain[:2])
    assert len(tab.text("plain-answer")) == len(tab.text("answer")) + plain[1]
    assert tab.page.locator("#plain-answer .again").count() == 1


def test_a_reload_loses_nothing_and_the_plain_answer(demo, open_demo, hurry):
    tab = open_demo(demo)
    tab.wait_for_chunks(20)
    before, elapsed = tab.answer.text_content(), tab.number("elapsed")
    tab.button("Reload").click()
    live, plain = tab.wait_for_row("Reloaded")
    assert live[:2] == [0, 0]
    assert plain[0] >= len(before) > 20
    wait_for(lambda: tab.answer.text_content().startswith(before), what="the text")
    assert tab.number("elapsed") > elapsed  # since the answer began, not since the reload
    assert tab.text("plain-state") == "gone"
    hurry()
    live, plain = tab.wait_for_end()
    assert (live[:2], plain[:2]) == ([0, 0], [len(tab.answer.text_content()), 0])
    transcript = httpx.get(f"{demo.url}/transcripts/{tab.page.url.partition('#')[2]}").json()
    shown = [tab.text(id_) for id_ in ("first", "chunks", "elapsed")]
    first, duration = (transcript[name] for name in ("time_to_first_chunk", "duration"))
    assert shown == [f"{first:.2f} s", f"{transcript['chunks']:,}", f"{duration:.2f} s"]
    assert [row[0] for row in tab.rows()] == ["The end", "Reloaded"]


def test_a_second_viewer_sees_the_same_inline(demo, open_demo, hurry):
    tab = open_demo(demo)
    tab.wait_for_chunks(20)
    tab.button("Second viewer").click()
    live, plain = tab.wait_for_row("Second viewer")
    assert live[:2] == [0, 0]
    assert plain[0] > 20
    hurry()
    tab.wait_for_end()
    wait_for(lambda: tab.text("viewer-answer") == tab.text("answer"), what="the same text")


def test_a_raised_error_is_told_and_both_sides_keep_the_same(demo, open_demo):
    tab = open_demo(demo)
    tab.wait_for_chunks(20)
    tab.button("Raise an error").click()
    assert tab.wait_for_verdict() == "failed"
    live, plain = tab.wait_for_row("Raised an error")
    assert live[:2] == [0, 0]
    assert live[2].startswith('told why, "the source failed"')
    assert plain[1] > 20
    assert tab.answer.text_content() == tab.transcript.text_content()
    assert "the same" in tab.text("verdict")


def test_the_only_worker_cannot_be_killed(demo, open_demo):
    tab = open_demo(demo)
    tab.wait_for_chunks(1)
    assert tab.button("Kill the worker").is_disabled()
    assert "--workers 2" in tab.button("Kill the worker").get_attribute("title")
    assert httpx.post(f"{demo.url}/worker/kill", json={}).status_code == 403


@pytest.mark.parametrize("how", ["button", "Escape", "s"])
def test_stopped_half_way_the_server_keeps_the_partial_text(demo, open_demo, how):
    tab = open_demo(demo)
    tab.wait_for_chunks(12)
    tab.stop.click() if how == "button" else tab.page.keyboard.press(how)
    assert tab.wait_for_verdict() == "identical"
    here, there = tab.answer.text_content(), tab.transcript.text_content()
    assert here == there
    assert len(here) > 12
    assert tab.status.text_content().startswith("Stopped half-way. ")
    assert (tab.text("browser-state"), tab.text("server-state")) == ("stopped", "stopped")
    live, plain = tab.wait_for_row("Stopped")
    assert live == [0, 0, f"the server keeps the {len(there):,} so far"]
    assert plain[0] > 12
    assert "keeps nothing" in plain[2]
    assert 12 <= tab.chunks() < 400


def test_the_keyboard_is_enough(demo, open_demo):
    tab = open_demo(demo)
    generations = set()
    for _ in range(2):
        tab.wait_for_chunks(5)
        tab.page.keyboard.press("Escape")
        tab.wait_for_verdict()
        generations.add(tab.page.evaluate("location.hash"))
        tab.prompt.focus()
        tab.page.keyboard.type("crvs")  # no shortcuts while somebody writes
        tab.page.keyboard.press("Enter")
        wait_for(lambda: tab.text("server-state") == "generating", what="another answer")
    assert len(generations) == 2  # their texts may begin alike, by chance
    tab.page.keyboard.press("Shift+Enter")
    assert "\n" in tab.prompt.input_value()
    tab.page.keyboard.press("Escape")
    tab.wait_for_verdict()
    tab.prompt.blur()
    order = []
    for _ in range(3):
        tab.page.keyboard.press("Tab")
        order.append(tab.page.evaluate("document.activeElement.id"))
    assert order == ["generate", "reload", "second"]  # what is disabled is passed over


def test_two_panels_of_a_lane_scroll_together(demo, open_demo, hurry):
    tab = open_demo(demo)
    hurry()
    tab.wait_for_end()
    tab.answer.hover()
    tab.page.mouse.wheel(0, -200)
    tops = "() => ['answer', 'transcript'].map((id) => document.getElementById(id).scrollTop)"
    end = tab.page.evaluate("document.getElementById('answer').scrollHeight")

    def together():
        one, other = tab.page.evaluate(tops)
        return 0 < one < end - 250 and abs(one - other) < 2

    wait_for(together, what="the other panel to follow")


def test_who_asks_for_less_motion_gets_none(demo, open_demo):
    tab = open_demo(demo, reduced_motion="reduce")
    tab.page.evaluate(COUNT_DOTS)
    tab.wait_for_chunks(20)
    assert tab.page.evaluate("window.dots") == 0
    assert len(tab.answer.text_content()) > 20


COUNT_DOTS = """() => {
  window.dots = 0;
  new MutationObserver((records) => {
    for (const record of records) window.dots += record.addedNodes.length;
  }).observe(document.getElementById("live-wire"), { childList: true });
}"""


def test_the_page_says_what_answers(demo, demo_of_endpoint, endpoint, open_demo):
    embedded, other = open_demo(demo), open_demo(demo_of_endpoint)
    wait_for(lambda: "not an LLM" in embedded.text("source-name"), what="the source's name")
    name = f"tiny at 127.0.0.1:{endpoint.port}"
    wait_for(lambda: other.text("source-name") == name, what="the source's name")


def test_the_answer_of_an_endpoint_arrives_exactly_and_as_text(demo_of_endpoint, open_demo):
    tab = open_demo(demo_of_endpoint)
    tab.prompt.fill("awkward")
    tab.generate.click()
    tab.wait_for_end()
    assert tab.verdict == "identical"
    expected = [ord(unit) for unit in "".join(AWKWARD)]
    shown = tab.answer.evaluate("each => Array.from(each.textContent, c => c.codePointAt(0))")
    # Side by side, two halves make the character that they are halves of.
    joined = "".join(AWKWARD).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    assert shown == [ord(character) for character in joined]
    assert len(shown) == len(expected) - 1
    assert tab.answer.locator("* *").count() == 0  # no markup came of it


@pytest.mark.parametrize(
    ("prompt", "text", "message"),
    [
        ("unauthorized", "", "answered 401: no such key"),
        ("failing", "so far", "failed: the engine is overloaded"),
        ("cut", "half of", "ended before the answer was complete"),
    ],
)
def test_a_failure_of_the_endpoint_is_shown(demo_of_endpoint, open_demo, prompt, text, message):
    tab = open_demo(demo_of_endpoint)
    tab.prompt.fill(prompt)
    tab.generate.click()
    assert tab.wait_for_verdict() == "failed"
    assert message in tab.status.text_content()
    wait_for(lambda: tab.answer.text_content() == text, what="the text")
    assert tab.transcript.text_content() == text
    assert (tab.text("browser-state"), tab.text("server-state")) == ("failed", "failed")


def test_stopping_ends_the_generation_at_the_endpoint_too(demo_of_endpoint, endpoint, open_demo):
    tab = open_demo(demo_of_endpoint)
    tab.prompt.fill("endless")
    tab.generate.click()
    tab.wait_for_chunks(3)
    wait_for(lambda: endpoint.get("/seen")["open"] == 2, what="both lanes at the endpoint")
    tab.stop.click()
    wait_for(lambda: endpoint.get("/seen")["open"] == 0, what="the end at the endpoint")
    assert tab.wait_for_verdict() in ("identical", "prefix")


def test_a_server_that_goes_away_is_a_failure_and_no_silence(tmp_path, chromium):
    with commands.serving("demo", directory=tmp_path) as running:
        tab = Demo(chromium, running.url)
        tries = []
        tab.page.on("requestfailed", lambda request: tries.append(request.url))
        tab.page.clock.install()
        tab.page.reload()  # the page's scripts meet the clock from their beginning
        tab.wait_for_chunks(3)
        running.process.kill()  # told to stop, it would say so to its viewers
    wait_for(lambda: tab.page.evaluate("1") and len(tries) >= 2, what="another try", within=30)
    assert tab.text("browser-state") == "streaming"  # a server may come back
    assert tab.page.locator("#live-wire").get_attribute("data-link") == "cut"
    tab.page.clock.fast_forward(10_000)
    assert tab.wait_for_verdict() == "failed"
    assert tab.text("browser-state") == "failed"
    tab.context.close()


def test_an_error_page_of_the_server_is_told_as_a_status(demo, chromium):
    tab = Demo(chromium, demo.url)
    tab.page.route("**/generations/*", lambda route: route.fulfill(status=500, body="Oh no"))
    tab.page.route("**/transcripts/*", lambda route: route.fulfill(status=404, body="{}"))
    tab.generate.click()
    assert tab.wait_for_verdict() == "failed"
    assert tab.status.text_content() == (
        "Failed: the server answered 500. What the server kept is unknown: the server answered 404."
    )
    tab.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_both_colour_schemes(demo, open_demo, scheme):
    """WCAG 2.2 asks for a contrast of 4.5 between text and its ground."""
    tab = open_demo(demo, color_scheme=scheme)
    low = tab.page.evaluate(CONTRASTS)
    assert low == []
    lightness = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    first = int(re.findall(r"\d+", lightness)[0])
    assert (first > 128) == (scheme == "light")


CONTRASTS = """() => {
  const style = getComputedStyle(document.documentElement);
  const channels = (name) => style.getPropertyValue(name).match(/[0-9a-f]{2}/gi)
    .map((part) => parseInt(part, 16) / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  const luminance = (name) => {
    const [red, green, blue] = channels(name);
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const pairs = [["--text", "--ground"], ["--text", "--card"], ["--muted", "--ground"],
    ["--muted", "--card"], ["--on-accent", "--accent"], ["--good", "--good-soft"],
    ["--warn", "--warn-soft"], ["--bad", "--bad-soft"], ["--accent", "--card"]];
  return pairs.filter(([front, back]) => {
    const [low, high] = [luminance(front), luminance(back)].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05) < 4.5;
  });
}"""


@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_nothing_is_wider_than_the_screen(demo, open_demo, width):
    tab = open_demo(demo, viewport={"width": width, "height": 800})
    tab.wait_for_chunks(3)
    tab.button("Second viewer").click()
    assert tab.page.evaluate("document.documentElement.scrollWidth") == width


def test_a_desktop_needs_no_scrolling(demo, open_demo, hurry):
    tab = open_demo(demo, viewport={"width": 1280, "height": 800})
    tab.wait_for_chunks(3)
    for name in ("Second viewer", "Cut the connection"):
        tab.button(name).click()
        tab.wait_for_row(name)
    hurry()
    tab.wait_for_end()
    assert tab.page.evaluate("document.documentElement.scrollHeight") == 800
    inside = tab.page.evaluate(INSIDE)
    assert inside == []


INSIDE = """() => Array.from(document.querySelectorAll("button, .lane, .panel, .story, .hint"))
  .filter((each) => !each.closest("[hidden]") && each.getBoundingClientRect().bottom > innerHeight)
  .map((each) => each.className || each.id)"""


WIRE = [
    b"data: one\n\ndata: two\n\n",
    b"data: cr\rdata: more\r\rdata: two\r\r",
    b"data: crlf\r\ndata: more\r\n\r\ndata:x\r\n\r\n",
    b"data: mixed\r\ndata:\r\rdata: b\n\rdata: c\r\n\n",
    b"\xef\xbb\xbfdata: after one BOM\n\n",
    b"\xef\xbb\xbf\xef\xbb\xbfdata: after two, the field is another\n\n",
    b"data: caf\xc3\xa9 \xf0\x9f\x90\x87 \xff\xfe \xc3\n\n",
    b": comment\n\n:\n\ndata: x\n: within\ndata: y\n\n",
    b"event: kind\ndata: x\n\ndata: default again\n\n",
    b"event: lost without data\n\ndata: x\n\n",
    b"event: a\nevent: b\ndata: x\n\nevent: a\nevent\ndata: y\n\n",
    b"data\n\ndata\ndata\n\ndata:\n\ndata: \n\ndata:  two\n\n",
    b"Data: case\n\n data: space\n\ndata : space\n\nother: x\n\n",
    b"data:no space\n\ndata:\ttab\n\ndata: a: b: c\n\n",
    b"id: 1\nretry: 5\ndata: x\n\nid: 2\n\n",
    b"data: nul \x00 \xe2\x80\xa8 \x85 \x0b \x0c\n\n",
    b"data: unfinished\n\ndata: dropped\n",
    b"\n\n\r\r\r\ndata: x\n\n",
]
PARSE = """async (hexes) => {
  const { EventStreamParser } = await import("/stream.mjs");
  const bytesOf = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  const parse = (pieces) => {
    const parser = new EventStreamParser();
    return JSON.stringify(pieces.flatMap((piece) => parser.feed(piece)));
  };
  return hexes.map((hex) => {
    const bytes = bytesOf(hex);
    const single = Array.from(bytes, (_, at) => bytes.slice(at, at + 1));
    const results = new Set([parse([bytes]), parse(single)]);
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      for (const empty of [[], [new Uint8Array()]]) {
        results.add(parse([bytes.slice(0, cut), ...empty, bytes.slice(cut)]));
      }
    }
    return [...results].map((result) => JSON.parse(result));
  });
}"""


def test_the_parser_of_the_page_decodes_as_the_library_does_at_every_cut(demo, open_demo):
    tab = open_demo(demo)
    results = tab.page.evaluate(PARSE, [wire.hex() for wire in WIRE])
    for wire, decoded in zip(WIRE, results, strict=True):
        events = EventStreamDecoder().feed(wire)
        assert decoded == [
            [
                {"type": each.type, "data": each.data, "lastEventId": each.last_event_id}
                for each in events
            ]
        ], wire


def test_a_plain_client_that_leaves_misses_nothing(demo, hurry):
    url = f"{demo.url}/generations/{time.time_ns():032x}"
    seen = EventStreamDecoder()
    with httpx.stream("POST", url, json={"prompt": "The Hatter"}) as response:
        events = []
        for data in response.iter_raw():
            events += seen.feed(data)
            if len(events) >= 5:
                break
    hurry()
    rest = httpx.get(url, headers={"last-event-id": seen.last_event_id}, timeout=30)
    events += EventStreamDecoder().feed(rest.content)
    assert events.pop().data == "[DONE]"
    transcript = httpx.get(url.replace("generations", "transcripts")).json()
    assert transcript["outcome"] == "completed"
    assert transcript["text"] == "".join(json.loads(event.data) for event in events)
