"""The doctor at the bedside of servers that are broken on purpose, each in one way."""

import gzip
import json
import subprocess
import time
import zlib

import pytest

from sse_asgi.cli import checks, main
from sse_asgi.cli.findings import CODES, SEVERITIES, TEXTS
from tests import documents
from tests.cli import commands
from tests.client.scripted import ScriptedServer, redirect, status, stream
from tests.conftest import require
from tests.servers import SERVERS, free_port, launch, serve

GOOD = {"cache-control": "no-store, no-transform", "x-accel-buffering": "no"}
END = b"data: [DONE]\n\n"
WORDS = [b"data: Hello\n\n", b"data: world\n\n"]


def healthy(*parts, headers=None, **options):
    return stream(*parts, headers={**GOOD, **(headers or {})}, **options)


def without(name):
    headers = {key: value for key, value in GOOD.items() if key != name}
    return stream(*WORDS, END, headers=headers)


def with_headers(**headers):
    return healthy(*WORDS, END, headers={key.replace("_", "-"): v for key, v in headers.items()})


@pytest.fixture
def examined(capsys):
    """Examine a URL; return the report."""

    def run(url, *options):
        status = main(["doctor", url, "--json", "--wait", "1", *options])
        report = json.loads(capsys.readouterr().out)
        assert status == (0 if report["healthy"] else 4 if "unreachable" in codes(report) else 1)
        weights = [SEVERITIES.index(finding["severity"]) for finding in report["findings"]]
        assert weights == sorted(weights)  # the gravest first
        for finding in report["findings"]:
            assert all(finding[part] for part in ("code", "title", "evidence", "remedy"))
        return report

    return run


@pytest.fixture
def examine(examined):
    """Examine what a script answers; return the report."""
    servers = []

    def run(*answers, options=()):
        servers.append(ScriptedServer(*answers))
        return examined(servers[-1].__enter__().url, *options)

    yield run
    for server in servers:
        server.__exit__()


def codes(report):
    return [each["code"] for each in report["findings"] if each["severity"] != "note"]


def notes(report):
    return [each["code"] for each in report["findings"] if each["severity"] == "note"]


def only(report, code):
    """Return the one finding that there is."""
    assert codes(report) == [code], report["findings"]
    return next(finding for finding in report["findings"] if finding["code"] == code)


# Health


def test_a_healthy_stream_gets_no_finding(examine):
    report = examine(healthy(WORDS[0], 0.2, b": keep-alive\n", WORDS[1], 0.2, END))
    assert codes(report) == []
    assert "3 events in 0." in report["seen"]
    assert notes(report) == ["no-ids", "close-at-end"]


def test_a_healthy_endless_stream_gets_no_finding(examine):
    report = examine(healthy(*[b"data: tick\n\n", 0.3] * 8, end="open"))
    assert codes(report) == []
    assert report["seen"].endswith("enough was seen")


def test_a_healthy_resumable_stream_gets_no_finding(examine):
    events = [b"id: %d\ndata: %d\n\n" % (number, number) for number in range(1, 5)]

    def answer(request):
        begin = int(request.get("last-event-id") or 0)
        return healthy(*events[begin:-1], b"id: 4\n" + END) if begin < 4 else status(204)

    assert codes(examine(answer)) == []


def test_a_stream_that_204_ends_needs_no_marker(examine):
    assert codes(examine(healthy(*WORDS), status(204))) == []


def test_a_stream_that_thinks_before_it_speaks_is_healthy(examine):
    assert codes(examine(healthy(0.7, WORDS[0], 0.2, WORDS[1], 0.2, END))) == []


def test_a_history_that_is_replayed_at_once_is_healthy(examine):
    old = [b'data: {"at": %d}\n\n' % (1_700_000_000 + 60 * number) for number in range(5)]
    assert codes(examine(healthy(b"".join(old), 0.2, END))) == []


@pytest.mark.parametrize(
    "end",
    [
        b"event: done\ndata: {}\n\n",
        b"event: close\ndata\n\n",
        b'data: {"done": true}\n\n',
        b'data: {"type":"finish"}\n\n',
    ],
)
def test_other_end_markers_are_known(examine, end):
    assert "no-end-marker" not in codes(examine(healthy(WORDS[0], end)))


def test_a_compressed_stream_that_is_flushed_is_healthy(examine):
    compress = zlib.compressobj(wbits=31)
    parts = [compress.compress(e) + compress.flush(zlib.Z_SYNC_FLUSH) for e in [*WORDS, END]]
    answer = healthy(
        parts[0], 0.2, *parts[1:], compress.flush(), headers={"content-encoding": "gzip"}
    )
    assert codes(examine(answer)) == []


def test_the_streams_of_well_known_servers_end_in_their_own_ways(examine):
    start = b'event: message_start\ndata: {"type": "message_start", "message": {}}\n\n'
    stop = b'event: message_stop\ndata: {"type": "message_stop"}\n\n'
    assert codes(examine(healthy(start, stop))) == []
    assert codes(examine(healthy(start))) == ["no-end-marker"]


# The answer


def test_nobody_listens(examined):
    finding = only(examined(f"http://127.0.0.1:{free_port()}/"), "unreachable")
    assert "Connection refused" in finding["evidence"]


def test_the_response_does_not_start(examine):
    def answer(_):
        time.sleep(1.5)
        return healthy(*WORDS, END)

    assert "within 1.0 s" in only(examine(answer), "no-response")["evidence"]


@pytest.mark.parametrize("number", [204, 404, 500])
def test_a_wrong_status(examine, number):
    finding = only(examine(status(number)), "status")
    assert str(number) in finding["evidence"]
    assert "credentials" in finding["remedy"]
    assert ("stop for good" in finding["evidence"]) == (number == 204)


@pytest.mark.parametrize("content_type", [None, "text/plain", "application/json"])
def test_a_wrong_content_type(examine, content_type):
    finding = only(examine(healthy(*WORDS, END, content_type=content_type)), "content-type")
    assert content_type is None or content_type in finding["evidence"]


def test_a_redirect_is_told_and_not_followed(examined):
    with ScriptedServer(redirect(307, "/to"), healthy(*WORDS, END)) as server:
        report = examined(server.url)
        assert len(server.requests) == 1
    assert "answered 307; it leads to /to" in only(report, "status")["evidence"]


def test_missing_header_fields(examine):
    assert only(examine(without("cache-control")), "no-transform")
    assert only(examine(without("x-accel-buffering")), "x-accel-buffering")
    finding = only(examine(with_headers(cache_control="no-cache")), "no-transform")
    assert "no-cache" in finding["evidence"]


def test_nginx_keeps_x_accel_buffering_for_itself(examine):
    def behind_nginx(*parts):
        return stream(*parts, headers={"server": "nginx/1.22.1", **headers})

    headers = {"cache-control": GOOD["cache-control"]}
    report = examine(behind_nginx(*WORDS, END))
    assert codes(report) == []
    assert "nginx-in-front" in notes(report)  # too little came to see whether it buffers
    report = examine(behind_nginx(WORDS[0], 0.2, WORDS[1], 0.2, END))
    assert (codes(report), "nginx-in-front" in notes(report)) == ([], False)
    report = examine(behind_nginx(0.8, b"".join([*WORDS, *WORDS, END])))
    assert codes(report) == ["buffered", "x-accel-buffering"]


@pytest.mark.matrix
def test_a_connection_header(examined, tmp_path):
    (tmp_path / "kept.py").write_text(APP)
    with on_uvicorn(tmp_path, "kept:app") as running:
        finding = only(examined(f"{running.url}/kept"), "connection-header")
    assert "keep-alive" in finding["evidence"]


PAGE = "https://example.com"


@pytest.mark.parametrize("allowed", ["*", PAGE])
def test_an_origin_that_is_allowed(examine, allowed):
    answer = with_headers(access_control_allow_origin=allowed)
    assert codes(examine(answer, options=["-H", f"Origin: {PAGE}"])) == []


def test_an_origin_that_is_not_allowed(examine):
    options = ["-H", f"Origin: {PAGE}"]
    assert "no access-control" in only(examine(with_headers(), options=options), "cors")["evidence"]
    answer = with_headers(access_control_allow_origin="https://other.example")
    assert "https://other.example" in only(examine(answer, options=options), "cors")["evidence"]


# Delivery


def test_everything_at_the_end(examine):
    finding = only(examine(healthy(0.8, b"".join([*WORDS, *WORDS, END]))), "buffered")
    assert "in one burst with the end" in finding["evidence"]


def test_blocks_that_cut_events(examine):
    body = b"".join(b"data: %d\n\n" % number for number in range(100))
    answer = healthy(body[:258], 0.4, body[258:515], 0.4, body[515:], END)
    assert (
        "2 times the stream paused inside an event" in only(examine(answer), "buffered")["evidence"]
    )


def test_compression_without_a_flush(examine):
    body = gzip.compress(b"".join([*WORDS, *WORDS, END]))
    coded = {"content-encoding": "gzip"}
    finding = only(examine(healthy(body[:10], 0.9, body[10:], headers=coded)), "compression")
    assert "with content-encoding: gzip all 5 events came in one burst" in finding["evidence"]
    report = examine(healthy(body[:10], end="open", headers=coded), options=["--wait", "0.5"])
    assert codes(report) == ["compression", "no-keep-alive"]
    assert "no event came in 0." in report["findings"][0]["evidence"]


def test_a_content_coding_that_is_broken(examine):
    answer = healthy(b"no gzip", headers={"content-encoding": "gzip"})
    assert codes(examine(answer)) == ["cut"]


def test_no_keep_alive(examine):
    shorter = ["--wait", "0.5"]
    report = examine(healthy(*WORDS, end="open"), options=shorter)
    assert "no byte for 0.5" in only(report, "no-keep-alive")["evidence"]
    report = examine(healthy(end="open"), options=shorter)
    assert "after the header fields" in only(report, "no-keep-alive")["evidence"]


def test_keep_alives_are_enough(examine):
    assert codes(examine(healthy(WORDS[0], *[0.4, b": keep-alive\n"] * 5, end="open"))) == []


# The format


@pytest.mark.parametrize(
    ("code", "body", "evidence"),
    [
        ("bom", b"\xef\xbb\xbf" + WORDS[0] + END, "EF BB BF"),
        ("line-ends", WORDS[0].replace(b"\n", b"\r\n") + END, "2 line ends are CRLF"),
        ("line-ends", WORDS[0].replace(b"\n", b"\r") + END, "2 line ends are CR"),
        ("ignored-lines", b'data: {\n  "a": 1\n}\n\n' + END, '"a": 1'),
        ("ignored-lines", b"data: one\ntwo: three\n\n" + END, "two: three"),
        ("ignored-lines", b"Data: a\n\n" + WORDS[0] + END, "Data: a"),
        ("ignored-lines", b"message: a\n\n" + WORDS[0] + END, "message: a"),
        ("ignored-lines", WORDS[0] + b"data: x\ndata : y\n\n" + END, "data : y"),
        ("ignored-lines", b"retry: 1.5\n" + WORDS[0] + END, "retry: 1.5"),
        ("ignored-lines", b"id: a\0b\n" + WORDS[0] + END, "id: a"),
        ("framed-twice", b"data: data: a\ndata: \n\n" + END, "data: a"),
        ("not-utf-8", "data: grün\n\n".encode("latin-1") + END, "gr"),
        ("unfinished-event", b"data: a\ndata: b\n", "data: b"),
        ("no-events", b": nothing\n\n", "11 bytes"),
        ("no-events", b"", "0 bytes"),
        ("unfinished-event", WORDS[0] + END + b"data: a\n", "data: a"),
    ],
)
def test_a_wrong_format(examine, code, body, evidence):
    finding = only(examine(healthy(body) if body else healthy()), code)
    assert evidence in finding["evidence"]


def test_a_json_body_that_calls_itself_an_event_stream(examine):
    assert "ignored-lines" in codes(examine(healthy(b'{"error": "x"}\n')))


# The end


def test_the_connection_breaks_off(examine):
    finding = only(examine(healthy(*WORDS, end="cut")), "cut")
    assert "2 events" in finding["evidence"]


def test_the_server_says_that_it_failed(examine):
    answer = healthy(WORDS[0], b'event: error\ndata: {"message": "boom"}\n\n')
    assert "boom" in only(examine(answer), "failed")["evidence"]


def test_no_end_marker(examine):
    finding = only(examine(healthy(*WORDS)), "no-end-marker")
    assert "a reconnection got events again" in finding["evidence"]


def test_another_end_marker_can_be_named(examine):
    answer = healthy(*WORDS, b"data: bye\n\n")
    assert codes(examine(answer)) == ["no-end-marker"]
    assert codes(examine(answer, options=["--done", "bye"])) == []


def test_ids_that_are_ignored(examine):
    report = examine(healthy(b"id: 1\ndata: a\n\nid: 2\ndata: b\n\nid: 3\ndata: [DONE]\n\n"))
    assert "last-event-id: 3" in only(report, "last-event-id")["evidence"]
    assert (report["healthy"], notes(report)) == (True, [])


def test_a_client_that_has_everything_gets_a_stream_without_more(examine):
    report = examine(healthy(b"id: 1\ndata: a\n\nid: 2\ndata: [DONE]\n\n"), healthy())
    assert (codes(report), notes(report)) == ([], ["close-at-end"])


@pytest.mark.parametrize("last_id", ["\u20ac", "\x1b", "1 "])
@pytest.mark.matrix("last_id")
def test_an_id_of_any_characters(examine, last_id):
    report = examine(healthy(f"id: {last_id}\ndata: a\n\n".encode() + END, end="open"))
    assert "unreachable" not in codes(report)


def test_an_event_without_an_id_repeats_nothing(examine):
    first = b"data: hello\n\nid: 1\ndata: a\n\n" + END
    assert codes(examine(healthy(first), healthy(b"data: welcome back\n\n"))) == []


def test_new_ids_for_each_connection(examine):
    numbers = iter(range(100))

    def answer(_):
        events = [f"id: {next(numbers)}\ndata: {each}\n\n" for each in "abc"]
        return healthy("".join(events).encode(), end="open")

    assert "last-event-id" in codes(examine(answer))


# Real proxies and servers


def on_uvicorn(directory, app):
    def answers(running):
        return "Uvicorn running" in running.log

    return serve(SERVERS["uvicorn-h11"], directory=directory, app=app, ready=answers)


APP = """
import time
import anyio
from sse_asgi import EventStream

async def words(request):
    for number in range(6):
        yield f"{number} "
        await anyio.sleep(0.2)

good = EventStream(words)

async def bare(scope, receive, send):
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(6):
        body = b"data: %d\\n\\n" % number
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await anyio.sleep(0.2)
    await send({"type": "http.response.body", "body": b"data: [DONE]\\n\\n"})

async def kept(scope, receive, send):
    async def with_connection(message):
        if message["type"] == "http.response.start":
            headers = [*message["headers"], (b"connection", b"keep-alive")]
            message = {**message, "headers": headers}
        await send(message)

    await good(scope, receive, with_connection)

APPS = {"/good": good, "/bare": bare, "/kept": kept}

async def app(scope, receive, send):
    if scope["type"] == "http":
        await APPS[scope["path"]](scope, receive, send)
"""

NGINX = """
daemon off; error_log stderr; pid {directory}/nginx.pid; worker_processes 1;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {directory}/a; proxy_temp_path {directory}/b;
  fastcgi_temp_path {directory}/c; uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass {upstream}; }} }}
}}
"""


@pytest.fixture(scope="module")
def behind_nginx(tmp_path_factory):
    """Serve the app on uvicorn behind nginx with its default settings; give both URLs."""
    nginx = require("nginx")
    directory = tmp_path_factory.mktemp("nginx")
    directory.chmod(0o755)
    (directory / "proxied.py").write_text(APP)
    with on_uvicorn(directory, "proxied:app") as upstream:

        def command(port):
            config = directory / f"nginx-{port}.conf"
            config.write_text(NGINX.format(directory=directory, port=port, upstream=upstream.url))
            return [nginx, "-c", str(config), "-e", "stderr", "-g", "user root;"]

        def answers(running):
            with running.open("/good") as client:
                return client.read_status(within=2.0) == 200

        proxy = launch(command, directory=directory, name="nginx", ready=answers)
        try:
            yield upstream.url, proxy.url
        finally:
            proxy.stop()


@pytest.mark.matrix
def test_a_bare_app_behind_nginx_is_buffered(examined, behind_nginx):
    direct, proxied = behind_nginx
    assert codes(examined(f"{direct}/bare")) == ["no-transform", "x-accel-buffering"]
    report = examined(f"{proxied}/bare", "--wait", "3")
    assert codes(report) == ["buffered", "no-transform", "x-accel-buffering"]


@pytest.mark.matrix
def test_an_event_stream_behind_nginx_is_healthy(examined, behind_nginx):
    for url in behind_nginx:
        assert codes(examined(f"{url}/good")) == []


# The wording


def test_every_check_has_its_words_and_all_words_a_check():
    named = [*checks._OF_ANSWERS, *checks._OF_STREAMS]
    assert sorted(check.__name__[1:].replace("_", "-") for check in named) == sorted(CODES)
    for texts in TEXTS.values():
        assert {frozenset(text) for text in texts.values()} == {frozenset({"title", "remedy"})}


def test_the_reference_lists_every_finding_with_its_severity():
    page = documents.DOCS / "reference" / "cli-listen-doctor.md"
    listed = {row[0].strip("`"): row[1] for row in documents.tables_in(page)[-1]}
    assert listed == {code: severity for severity, texts in TEXTS.items() for code in texts}
    assert tuple(TEXTS) == SEVERITIES


# The exit status


BAD = stream(*WORDS, headers={"connection": "close"})  # warnings alone


@pytest.mark.parametrize(
    ("options", "answer", "expected"),
    [
        ((), BAD, 0),
        (("--fail-on", "error"), BAD, 0),
        (("--fail-on", "warning"), BAD, 1),
        (("--fail-on", "note"), healthy(*WORDS, END), 1),
        (("--fail-on", "warning"), healthy(*WORDS, END), 0),
        ((), healthy(*WORDS, end="cut"), 1),
        (("--ignore", "cut"), healthy(*WORDS, end="cut"), 0),
        (("--ignore", "cut"), status(500), 1),
        (("--ignore=cut", "--ignore=status"), status(500), 0),
    ],
)
def test_only_what_is_grave_makes_it_fail(options, answer, expected, capsys):
    with ScriptedServer(answer) as server:
        assert main(["doctor", server.url, "--wait", "1", *options]) == expected
    ignored = {option.removeprefix("--ignore=") for option in options}
    assert not any(f"({code})" in capsys.readouterr().out for code in ignored)


def test_an_unknown_code_cannot_be_ignored(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["doctor", "http://127.0.0.1:1", "--ignore", "nonsense"])
    assert stopped.value.code == 2
    assert "invalid choice: 'nonsense'" in capsys.readouterr().err


def test_a_server_out_of_reach_has_a_status_of_its_own(capsys):
    url = f"http://127.0.0.1:{free_port()}/"
    for options in ((), ("--ignore", "unreachable"), ("--fail-on", "warning")):
        assert main(["doctor", url, *options]) == 4
    capsys.readouterr()


@pytest.mark.parametrize("host", ["exa mple.com", "xn--a.com", "\u00fc..com", "127.0.0.1:1"])
def test_a_url_that_leads_nowhere_is_out_of_reach(host, capsys):
    assert main(["doctor", f"http://{host}/", "--json"]) == 4
    report = json.loads(capsys.readouterr().out)
    assert codes(report) == ["unreachable"]


@pytest.mark.matrix
def test_output_that_nobody_reads():
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with (
        ScriptedServer(status(500)) as server,
        subprocess.Popen(
            [*commands.SSE_ASGI, "doctor", server.url], cwd=commands.ROOT, **pipes
        ) as process,
    ):
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


SSE_STARLETTE = """
import anyio
from sse_starlette import EventSourceResponse
from starlette.applications import Starlette
from starlette.routing import Route

async def words():
    for number in range(4):
        yield {"data": f"{number} "}
        await anyio.sleep(0.2)

app = Starlette(routes=[Route("/", lambda request: EventSourceResponse(words()))])
"""


@pytest.mark.matrix
def test_a_healthy_stream_of_sse_starlette_is_no_failure(examined, tmp_path):
    require("sse_starlette")
    (tmp_path / "theirs.py").write_text(SSE_STARLETTE)
    with on_uvicorn(tmp_path, "theirs:app") as running:
        report = examined(running.url)
    assert report["healthy"]
    assert {each["severity"] for each in report["findings"]} == {"warning", "note"}


# Requests that may have effects


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_may_have_effects_is_sent_once(method):
    answer = healthy(b"id: 1\n" + WORDS[0], END)
    with ScriptedServer(answer) as server:
        assert main(["doctor", server.url, "--wait", "1", "-X", method]) == 0
        assert [request.method for request in server.requests] == [method]


# The command


@pytest.mark.matrix
def test_the_report_for_people(tmp_path):
    with ScriptedServer(healthy(*WORDS)) as server:
        done = commands.run("doctor", server.url, "--wait", "1", directory=tmp_path)
    assert done.returncode == 0
    assert "warning: The stream ends without an end marker" in done.stdout
    assert "Seen: " in done.stdout
    assert "Remedy: " in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stderr == ""


@pytest.mark.matrix
def test_the_report_for_healthy_people(tmp_path):
    with ScriptedServer(healthy(*WORDS, END)) as server:
        ignored = [f"--ignore={code}" for code in ("no-ids", "close-at-end")]
        done = commands.run("doctor", server.url, "--wait", "1", *ignored, directory=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.rstrip().endswith("No finding.")


@pytest.mark.parametrize(("environment", "colours"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colour_on_a_terminal(environment, colours, monkeypatch, capsys):
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    with ScriptedServer(status(500)) as server:
        main(["doctor", server.url, "--wait", "1"])
    assert ("\x1b[1;31merror\x1b[0m: The status is not 200" in capsys.readouterr().out) == colours


def test_no_server_steers_the_terminal(capsys):
    with ScriptedServer(healthy(b"id: \x1b]0;x\x07\ndata: \x1b]0;x\x07\n\n")) as server:
        main(["doctor", server.url, "--wait", "1"])
    assert "\x1b" not in capsys.readouterr().out


def test_the_request_can_be_chosen(examine):
    def answer(request):
        good = request.method == "POST" and json.loads(request.body) == {"a": 1}
        return healthy(*WORDS, END) if good and request.get("x-key") == b"k" else status(400)

    options = ["--json-body", '{"a": 1}', "-H", "X-Key: k"]
    assert codes(examine(answer, options=options)) == []


@pytest.mark.matrix
def test_ctrl_c_ends_it(tmp_path):
    with ScriptedServer(healthy(*WORDS, end="open")) as server:
        process = subprocess.Popen(
            [*commands.SSE_ASGI, "doctor", server.url],
            cwd=commands.ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        server.wait_for_requests(1)
        process.send_signal(2)
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert errors == "interrupted before the examination was complete\n"
