"""`sse-asgi listen`, run as a user runs it, in a process of its own."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
from dataclasses import dataclass

import pytest

from sse_asgi import EventStreamDecoder, Finish, JSONFraming, MessageEvent, Outcome, TextFraming
from sse_asgi.cli import main
from sse_asgi.cli.framings import NAMES, make_decoder, recognise
from sse_asgi.cli.listen import Timing
from sse_asgi.cli.terminal import duration
from sse_asgi.dialects import AGUI, AnthropicMessages, ChatCompletions, Responses, UIMessages
from sse_asgi.errors import StreamFailedError
from sse_asgi.wire.framing import items_of
from tests.cli import commands
from tests.client.scripted import ScriptedServer, status, stream
from tests.servers import free_port

HELLO = [b"data: Hello, \n\n", b"data: w\xc3\xb6rld!\n\n"]
END = b"data: [DONE]\n\n"


@dataclass
class Done:
    """What a command has done."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def listen(capsys, monkeypatch, tmp_path):
    """Run the command against a script; give what it did, and the server."""
    servers = []
    monkeypatch.chdir(tmp_path)

    def run(*answers, options=(), url=None):
        server = ScriptedServer(*answers)
        servers.append(server)
        server.__enter__()
        code = main(["listen", url or server.url, *options])
        return Done(code, *capsys.readouterr()), server

    yield run
    for server in servers:
        server.__exit__()


# What is printed


def test_text_as_it_is(listen):
    done, server = listen(stream(*HELLO, END))
    assert (done.returncode, done.stdout) == (0, "Hello, wörld!")
    empty, head, times, rate = done.stderr.splitlines()
    assert empty == ""  # it begins a line, where a terminal shows the text too
    assert head == "complete: 3 events, 13 characters of text"
    assert re.fullmatch(r"first byte after .+, first event after .+, end after .+", times)
    assert re.fullmatch(r"[\d.]+ events/s; gaps p50 .+, p90 .+, p99 .+, longest .+", rate)
    assert server.requests[0].get("accept") == b"text/event-stream"


def test_one_is_not_many(listen):
    done, _ = listen(stream(b"data: x\n\n"), options=["--no-done"])
    assert done.stderr.splitlines()[1] == "complete: 1 event, 1 character of text"


@pytest.mark.matrix
def test_the_summary_begins_a_line():
    together = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    for text in (b"data: a\n\n", b"data: a\ndata\n\n"):
        with ScriptedServer(stream(text, END)) as server, start(server.url, **together) as process:
            assert process.stdout.read().startswith("a\ncomplete: ")


def test_text_that_the_encoding_lacks(tmp_path):
    with ScriptedServer(stream(*HELLO, END)) as server:
        ascii_only = {"PYTHONIOENCODING": "ascii"}
        done = commands.run("listen", server.url, directory=tmp_path, environment=ascii_only)
    assert (done.returncode, done.stdout) == (0, "Hello, w?rld!")


@pytest.mark.matrix
def test_text_comes_as_it_arrives():
    with (
        ScriptedServer(stream(HELLO[0], 60, end="open")) as server,
        start(server.url, stdout=subprocess.PIPE) as process,
    ):
        assert os.read(process.stdout.fileno(), 100) == b"Hello, "
        process.kill()


def test_events(listen):
    done, _ = listen(stream(b"event: add\nid: 7\ndata: a\ndata: b\n\n", END), options=["--events"])
    first, second, _ = done.stdout.split("\n\n")
    assert re.fullmatch(r" +[\d.]+ add id=7\na\nb", first)
    assert re.fullmatch(r" +[\d.]+ message id=7\n\[DONE\]", second)


def test_json_lines(listen):
    done, _ = listen(stream(b"event: add\nid: 7\ndata: \xe2\x80\xa8\n\n", END), options=["--json"])
    first, second = map(json.loads, done.stdout.splitlines())
    assert 0 <= first.pop("at") <= second["at"]
    assert first == {"type": "add", "data": "\u2028", "last_event_id": "7"}


def test_the_framing_can_be_named_or_told(listen):
    body = [b'data: "one\\n"\n\n', b'data: "two"\n\n', END]
    assert listen(stream(*body))[0].stdout == "one\ntwo"
    assert listen(stream(*body), options=["--framing", "json"])[0].stdout == "one\ntwo"
    assert listen(stream(*body), options=["--framing", "text"])[0].stdout == '"one\\n""two"'


def test_openai_streams_are_recognised(listen):
    deltas = [{"role": "assistant"}, {"content": "Hello"}, {"content": " world"}]
    body = [
        b"data: %b\n\n" % json.dumps({"choices": [{"delta": delta}]}).encode() for delta in deltas
    ]
    last = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'
    done, _ = listen(stream(*body, last, END))
    assert (done.returncode, done.stdout) == (0, "Hello world")
    done, _ = listen(stream(*body, END))
    assert (done.returncode, done.stdout) == (3, "Hello world")
    assert "before its answer was complete" in done.stderr


@pytest.mark.matrix
def test_output_that_nobody_reads():
    with (
        ScriptedServer(stream(*HELLO * 20_000, END)) as server,
        start(server.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process,
    ):
        os.read(process.stdout.fileno(), 1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(20) == 0


def test_a_hint_where_events_carry_no_text(listen):
    typed = [b"event: token\ndata: %d\n\n" % number for number in range(5)]
    done, _ = listen(stream(*typed, END))
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.splitlines()[0].startswith("hint: these events carry no text")
    assert done.stderr.count("hint") == 1
    done, _ = listen(stream(typed[0], END))  # so few that it is said at the end
    assert done.stderr.startswith("hint: ")
    for options in (["--events"], ["--json"]):
        assert "hint" not in listen(stream(*typed, END), options=options)[0].stderr
    assert "hint" not in listen(stream(*typed, *HELLO[:1], END))[0].stderr.splitlines()[-1]
    assert "hint" not in listen(stream(END))[0].stderr


@pytest.mark.matrix
def test_a_hint_comes_while_the_stream_goes_on():
    body = b"event: token\ndata: x\n\n" * 3
    with (
        ScriptedServer(stream(body, 60, end="open")) as server,
        start(server.url, stderr=subprocess.PIPE) as process,
    ):
        assert process.stderr.readline().startswith(b"hint: ")
        process.kill()


# The request


def test_the_request(listen):
    options = [
        *("--json-body", '{"prompt": "hi"}', "-H", "X-One: 1", "--header", "x-two:2"),
        *("-H", "Last-Event-ID: 7"),
    ]
    _, server = listen(stream(END), options=options)
    (request,) = server.requests
    assert (request.method, json.loads(request.body)) == ("POST", {"prompt": "hi"})
    assert request.get("content-type") == b"application/json"
    assert (request.get("x-one"), request.get("x-two")) == (b"1", b"2")
    assert request.get("last-event-id") == b"7"


def test_a_body_from_a_file_and_another_method(listen, tmp_path):
    (tmp_path / "body.json").write_text('["é"]')
    _, server = listen(stream(END), options=["--json-body", "@body.json", "-X", "put"])
    assert (server.requests[0].method, json.loads(server.requests[0].body)) == ("PUT", ["é"])


def test_a_url_without_a_scheme(listen):
    with ScriptedServer(stream(*HELLO, END)) as server:
        done, _ = listen(END, url=f"127.0.0.1:{server.port}")
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["http://"], "http:// cannot be requested"),
        (["http://127.0.0.1:99999"], "cannot be requested"),
        (["ftp://example.com"], "ftp://example.com cannot be requested"),
        (["http://x", "-H", "nonsense"], "NAME: VALUE"),
        (["http://x", "-H", "x: \u20ac"], "in ASCII"),
        (["http://x", "-H", "x: a\nb"], "header"),
        (["http://x", "--json-body", "{"], "no JSON"),
        (["http://x", "--json-body", "@missing"], "cannot read"),
        (["http://x", "--events", "--json"], "not allowed with"),
    ],
)
def test_a_wrong_command_line(capsys, arguments, words):
    try:
        code = main(["listen", *arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert words in capsys.readouterr().err


# How it ends


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (stream(*HELLO), "ended without an end marker"),
        (stream(*HELLO, end="cut"), "broke off"),
        (stream(*HELLO, b'event: error\ndata: {"message": "boom"}\n\n'), "boom"),
        (stream(b'data: {"choices": []}\n\n', b'data: {"error": {"message": "boom"}}\n\n'), "boom"),
    ],
)
def test_a_stream_that_is_cut(listen, answer, reason):
    done, _ = listen(answer)
    assert done.returncode == 3
    head = next(line for line in done.stderr.splitlines() if line.startswith("cut: "))
    assert reason in head


@pytest.mark.parametrize("number", [204, 401, 503])
def test_a_stream_that_is_refused(listen, number):
    answer = stream(b"no key\nmore", status=number, content_type="text/plain")
    done, _ = listen(answer)
    if number == 204:
        assert done.returncode == 3
        return
    assert done.returncode == 4
    assert done.stderr.startswith("refused: 0 events")
    assert f"status {number}" in done.stderr
    assert "it says: no key\n" in done.stderr


def test_a_server_that_is_not_there(listen):
    done, _ = listen(END, url=f"http://127.0.0.1:{free_port()}")
    assert done.returncode == 4
    assert "Connection refused" in done.stderr


def test_end_markers_can_be_named_or_absent(listen):
    assert listen(stream(*HELLO, b"data: bye\n\n"), options=["--done", "bye"])[0].returncode == 0
    done, _ = listen(stream(*HELLO), options=["--no-done"])
    assert (done.returncode, done.stdout) == (0, "Hello, wörld!")


def test_reconnections(listen):
    answers = [
        stream(b"retry: 1\nid: 1\ndata: Hello, \n\n", end="cut"),
        status(503),
        stream(HELLO[1], END),
    ]
    done, server = listen(*answers, options=["--reconnect"])
    assert (done.returncode, done.stdout) == (0, "Hello, wörld!")
    assert "2 connections" in done.stderr
    assert server.requests[1].get("last-event-id") == b"1"


def start(url, *options, **how):
    return subprocess.Popen([*commands.SSE_ASGI, "listen", url, *options], cwd=commands.ROOT, **how)


@pytest.mark.matrix
def test_ctrl_c_ends_it_with_the_summary():
    with ScriptedServer(stream(*HELLO, end="open")) as server:
        process = start(server.url, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout.read(13) == "Hello, wörld!"
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=20)
        server.wait_until_left(0)
    assert (process.returncode, output) == (0, "")
    assert errors.startswith("\ninterrupted: 2 events, 13 characters of text\nfirst byte after")


# The terminal


class Terminal:
    """A pseudo-terminal, and a process on it."""

    def __init__(self, url, *options):
        self.output = ""
        pid, self.descriptor = pty.fork()
        if not pid:
            os.environ["PYTHONPATH"] = str(commands.ROOT)
            os.execv(sys.executable, [*commands.SSE_ASGI, "listen", url, *options])
        self.pid = pid

    def end(self):
        try:
            while data := os.read(self.descriptor, 4096):
                self.output += data.decode()
        except OSError:  # Linux says so when the other end is closed
            pass
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def test_no_server_steers_the_terminal():
    with ScriptedServer(stream(*HELLO, b"data: \x1b[31m\n\n", END)) as server:
        terminal = Terminal(server.url)
        assert terminal.end() == 0
    assert "wörld!\ufffd[31m\r\ncomplete: 4 events" in terminal.output
    assert "\x1b" not in terminal.output


TITLE = b"\x1b]0;pwned\x07"


REFUSED = stream(b"no " + TITLE, status=403, content_type="text/plain")
NAMED = stream(b"id: " + TITLE + b"\nevent: " + TITLE + b"\ndata: x\n\n", END)


def test_no_escape_sequence_of_a_server_is_printed(listen):
    assert "it says: no \ufffd]0;pwned\ufffd\n" in listen(REFUSED)[0].stderr
    done, _ = listen(NAMED, options=["--events"])
    assert "id=\ufffd]0;pwned\ufffd" in done.stdout


@pytest.mark.matrix
def test_no_server_sets_the_title_of_a_terminal():
    lost = stream(b"id: " + TITLE + b"\ndata: x\n\n", end="cut")
    failing = stream(b'event: error\ndata: {"message": "\\u001b]0;pwned\\u0007"}\n\n')
    for answer in (REFUSED, NAMED, lost, failing):
        with ScriptedServer(answer) as server:
            for options in ((), ("--events",)):
                terminal = Terminal(server.url, *options)
                terminal.end()
                assert "\x1b]" not in terminal.output
                assert "\x07" not in terminal.output


# Framings

DIALECTS = {
    "chat-completions": ChatCompletions("m"),
    "responses": Responses("m"),
    "anthropic": AnthropicMessages("m"),
    "ui-messages": UIMessages(),
    "ag-ui": AGUI(thread_id="t", run_id="r"),
}


def event(value, kind="message"):
    return MessageEvent(value if isinstance(value, str) else json.dumps(value), kind)


def read(name, *events):
    """Return what is text, and None where the stream ends."""
    decode = make_decoder(name)
    items = [item for each in events for item in items_of(decode(each))]
    return [item for item in items if item is None or (item and isinstance(item, str))]


def encoded(framing, *, fails=False):
    """Return the events of a whole stream: the end of one, or its failure."""
    encoder = framing.encoder()
    body = encoder.begin() + encoder.text(["a ", "b"]) + encoder.part(Finish("stop"))
    body += encoder.fail("boom", Outcome.FAILED) if fails else encoder.end()
    return EventStreamDecoder().feed(body)


@pytest.mark.parametrize(
    ("first", "name"),
    [
        (event({"choices": [{"delta": {}}]}), "chat-completions"),
        (event({"error": {"message": "boom"}}), "chat-completions"),
        (event({"type": "response.created"}, "response.created"), "responses"),
        (event({"type": "message_start", "message": {}}, "message_start"), "anthropic"),
        (event({"type": "start", "messageId": "1"}), "ui-messages"),
        (event({"type": "RUN_STARTED", "threadId": "t", "runId": "r"}), "ag-ui"),
        (event('"Hello"'), "json"),
        (event("Hello"), "text"),
        (event('"Hello'), "text"),
        (event("42"), "text"),
        (event({"my": "own"}), "text"),
        (event("boom", "error"), "text"),
        (event("[" * 100_000), "text"),
        (event('{"a":' * 100_000), "text"),
        (event({"type": ["x"]}), "text"),
        (event("x", "ping"), None),
        (event({"text": "so"}, "reasoning"), None),
    ],
)
def test_a_framing_is_told_by_its_first_event(first, name):
    assert recognise(first) == name


def test_every_framing_can_be_named():
    assert ("auto", "text", "json", *DIALECTS) == NAMES


def test_events_before_the_first_text_do_not_decide():
    ping = event("{}", "ping")
    assert read("auto", ping, event('"a"'), event('"b"'), event("[DONE]")) == ["a", "b", None]
    assert read("auto", event("[DONE]")) == [None]


@pytest.mark.parametrize("name", DIALECTS)
def test_the_text_of_a_dialect_is_read(name, listen):
    whole = encoded(DIALECTS[name])
    for named in ("auto", name):
        assert "".join(text for text in read(named, *whole) if text) == "a b"
    body = b"".join(
        b"event: %b\ndata: %b\n\n" % (each.type.encode(), each.data.encode()) for each in whole
    )
    done, _ = listen(stream(body))
    assert (done.returncode, done.stdout) == (0, "a b")


@pytest.mark.parametrize("name", DIALECTS)
def test_the_failure_of_a_dialect_is_told(name, listen):
    failed = encoded(DIALECTS[name], fails=True)
    for named in ("auto", name):
        with pytest.raises(StreamFailedError, match="boom"):
            read(named, *failed)
        with pytest.raises(StreamFailedError, match="boom"):  # it may be all that comes
            read(named, next(each for each in failed if "boom" in each.data))
    body = b"".join(
        b"event: %b\ndata: %b\n\n" % (each.type.encode(), each.data.encode()) for each in failed
    )
    done, _ = listen(stream(body), options=["--events"])
    assert done.returncode == 3
    assert "boom" in done.stdout
    assert "; the server says that the stream failed: boom" in done.stderr


def test_the_framings_are_those_of_the_library():
    for name, framing in (("text", TextFraming()), ("json", JSONFraming())):
        data = framing.encoder().text(["a b"])[6:-2].decode()
        assert read(name, event(data), event("[DONE]")) == ["a b", None]


# Times


@pytest.fixture
def clock():
    """Give a clock that is set by hand."""

    class Clock:
        now = 100.0

        def __call__(self):
            return self.now

    return Clock()


def test_times_are_noted(clock):
    timing = Timing(clock)
    clock.now = 100.5
    timing.note_response()
    for at in (101.0, 101.1, 101.3, 103.3):
        clock.now = at
        timing.note_event()
    clock.now = 104.0
    assert timing.summary == [
        "first byte after 500 ms, first event after 1.00 s, end after 4.00 s",
        "1.3 events/s; gaps p50 200 ms, p90 2.00 s, p99 2.00 s, longest 2.00 s",
    ]


def test_nothing_has_come(clock):
    timing = Timing(clock)
    assert timing.summary == ["first byte after -, first event after -, end after 0 ms"]


def test_percentiles(clock):
    timing = Timing(clock)
    for number in range(101):  # the gaps are 1 to 100 s
        clock.now += number
        timing.note_event()
    assert "gaps p50 50.00 s, p90 90.00 s, p99 99.00 s, longest 100.00 s" in timing.summary[1]
    assert duration(0.0004) == "0 ms"
