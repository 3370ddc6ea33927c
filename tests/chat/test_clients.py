"""The official clients against a chat app on uvicorn: what they read, and how they fail."""

import json
import signal
import time

import pytest

from tests.chat import node_clients, python_clients
from tests.chat.apps import SECRET, TEXTS
from tests.report import wait_for
from tests.servers import SERVERS, serve

pytestmark = pytest.mark.matrix

PYTHON = list(python_clients.CLIENTS)
NODE = list(node_clients.CLIENTS)
ALL = [*PYTHON, *NODE]
GENERIC = "The stream failed on the server."
GENERIC_WHOLE = "The answer failed on the server."
SHUTS_DOWN = "The server is shutting down."


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """One uvicorn for all of the module's requests."""
    directory = tmp_path_factory.mktemp("chat")
    with serve(
        SERVERS["uvicorn-httptools"], directory=directory, app="tests.chat.apps:app"
    ) as running:
        yield running


@pytest.fixture(scope="module")
def answers(server):
    """Return what a client has understood of an answer; all clients ask for it at once."""
    known = {}

    def answer_of(client, message):
        library = python_clients if client in PYTHON else node_clients
        key = (library, message)
        if key not in known:
            known[key] = library.ask_all(list(library.CLIENTS), server.url, message)
        return known[key][client]

    return answer_of


@pytest.mark.parametrize("client", ALL)
@pytest.mark.parametrize("name", TEXTS)
def test_the_text_is_equal_to_the_character(answers, client, name):
    said = answers(client, name)
    assert said["error"] is None
    assert said["text"] == TEXTS[name]


@pytest.mark.parametrize("client", ALL)
def test_reasoning_tool_calls_and_usage_come_through(answers, client):
    said = answers(client, "everything")
    [call] = said["calls"]
    assert said["reasoning"] == "Think"
    assert (call["id"], call["name"]) == ("call_1", "weather")
    assert json.loads(call["arguments"]) == {"city": "Århus"}
    assert said["usage"] == {"input": 9, "output": 4}


@pytest.mark.parametrize("client", ALL)
def test_text_reasoning_and_calls_may_take_turns(answers, client):
    said = answers(client, "turns")
    assert said["error"] is None
    assert said["text"] == "Look at Århus. There: Århus. Look at Oslo. There: Oslo. "
    # A field that OpenAI does not have: its npm helper keeps the last delta only.
    first = "" if client == "openai (npm), `chat.completions.stream`" else "Ask for Århus. "
    assert said["reasoning"] == f"{first}Ask for Oslo. "
    assert [call["id"] for call in said["calls"]] == [
        *("call_Århus", "time_Århus", "call_Oslo", "time_Oslo")
    ]
    assert [json.loads(call["arguments"]) for call in said["calls"]] == [
        *({"city": "Århus"}, {}, {"city": "Oslo"}, {})
    ]
    assert said["usage"] == {"input": 9, "output": 4}


@pytest.mark.parametrize("client", ALL)
def test_an_empty_answer_is_one(answers, client):
    said = answers(client, "empty")
    assert (said["error"], said["text"], said["calls"]) == (None, "", [])


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("openai, `chat.completions.create(stream=True)`", "length"),
        ("openai, `chat.completions.create`", "length"),
        ("openai (npm), `chat.completions.create({stream})`", "length"),
        ("openai, `responses.create`", "incomplete"),
        ("openai (npm), `responses.create`", "incomplete"),
        ("anthropic, `messages.create(stream=True)`", "max_tokens"),
        ("anthropic, `messages.stream`", "max_tokens"),
        ("anthropic, `messages.create`", "max_tokens"),
        ("@anthropic-ai/sdk, `messages.stream`", "max_tokens"),
    ],
)
def test_an_answer_that_the_models_limit_has_cut_says_so(answers, client, reason):
    said = answers(client, "length")
    assert (said["error"], said["text"], said["finish"]) == (None, "Hello", reason)


def generic(client):
    return GENERIC_WHOLE if client.endswith("create`") else GENERIC


def assert_told(said, told, record_property):
    """Check that a client shows an error of its own, with our message and nothing of the inside."""
    assert said["error"] is not None, f"taken for a whole answer: {said}"
    assert said["finish"] is None
    assert told in said["error"]["message"]
    assert SECRET not in json.dumps(said)
    record_property("cell", f"`{said['error']['name']}`")


@pytest.mark.parametrize("client", ALL)
def test_a_generator_that_raises_is_an_error(answers, client, record_property):
    assert_told(answers(client, "raises"), generic(client), record_property)


@pytest.mark.parametrize("client", ALL)
def test_an_upstream_that_is_cut_is_an_error(answers, client, record_property):
    assert_told(answers(client, "upstream"), generic(client), record_property)


@pytest.mark.parametrize("client", ALL)
def test_a_generator_that_takes_too_long_is_an_error(answers, client, record_property):
    assert_told(answers(client, "deadline"), generic(client), record_property)


@pytest.mark.parametrize("client", ALL)
def test_a_late_refusal_is_an_error_with_its_message_and_where_there_is_a_place_its_code(
    answers, client
):
    said = answers(client, "late")
    assert said["finish"] is None
    assert "Too many." in said["error"]["message"]
    has_code = client.startswith(("openai", "@ag-ui"))
    assert said["error"]["code"] == ("rate_limit_exceeded" if has_code else None)


@pytest.fixture(scope="module")
def answers_at_sigterm(tmp_path_factory):
    """Return what every client has understood when its server was told to stop."""
    directory = tmp_path_factory.mktemp("sigterm")
    node_clients.require_node()
    with (
        serve(
            SERVERS["uvicorn-httptools"], directory=directory, app="tests.chat.apps:app"
        ) as running,
        python_clients.pool(PYTHON) as pool,
    ):
        node = node_clients.start(NODE, running.url, "SIGTERM")
        python = {
            name: pool.submit(python_clients.ask, name, running.url, "SIGTERM") for name in PYTHON
        }
        wait_for(lambda: len(running.report.notes("chat", "waits")) == len(ALL), within=60)
        running.signal(signal.SIGTERM)
        said = {name: future.result(20) for name, future in python.items()}
        said |= node_clients.finish(node, NODE)
        wait_for(lambda: running.process.poll() is not None, within=5, what="the server's exit")
        assert running.noise() == []
        completed = running.report.notes("chat", "complete")
        assert [note["outcome"] for note in completed] == ["shut_down"] * len(ALL)
        return said


@pytest.mark.parametrize("client", ALL)
def test_a_server_that_is_told_to_stop_is_an_error(answers_at_sigterm, client, record_property):
    assert_told(answers_at_sigterm[client], SHUTS_DOWN, record_property)


@pytest.mark.parametrize(
    "client",
    [
        "openai, `chat.completions.create`",
        "openai, `chat.completions.stream`",
        "anthropic, `messages.stream`",
    ],
)
def test_a_client_that_is_told_to_slow_down_waits_and_succeeds(server, client):
    begun = time.monotonic()
    said = python_clients.ask(client, server.url, "busy", retries=2)
    assert time.monotonic() - begun >= 1
    assert (said["error"], said["text"]) == (None, "At last")


def test_npm_clients_wait_and_succeed_too(server):
    for name in ("openai (npm), `chat.completions.create`", "@anthropic-ai/sdk, `messages.stream`"):
        said = node_clients.ask_all([name], server.url, "busy", retries=2)[name]
        assert (said["error"], said["text"]) == (None, "At last")


@pytest.mark.parametrize("client", PYTHON)
def test_a_wrong_key_is_the_clients_own_error(server, client):
    said = python_clients.ask(client, server.url, "everything", key="wrong")
    assert (said["error"]["name"], said["error"]["status"]) == ("AuthenticationError", 401)


def test_models(server):
    with python_clients.client_of("openai", server.url) as client:
        assert [model.id for model in client.models.list()] == ["mine", "org/other"]
        assert client.models.retrieve("org/other").object == "model"
        with pytest.raises(python_clients.openai.NotFoundError) as raised:
            client.models.retrieve("third")
        assert (raised.value.code, raised.value.param) == ("model_not_found", "model")
    with python_clients.client_of("anthropic", server.url) as client:
        assert [model.display_name for model in client.models.list()] == ["mine", "org/other"]
        assert client.models.retrieve("mine").type == "model"


def ended(server, since):
    """Return the generators that have ended, after so many."""
    return server.report.notes("chat", "generator ended")[since:]


@pytest.mark.parametrize("client", python_clients.STREAMS)
def test_a_client_that_leaves_stops_the_generator(server, client):
    since, told = len(ended(server, 0)), len(server.report.notes("chat", "complete"))

    left = python_clients.leave(client, server.url, "waits")

    [note] = wait_for(lambda: ended(server, since))
    assert note["at"] - left < 1  # at once, but for a busy machine
    [note] = wait_for(lambda: server.report.notes("chat", "complete")[told:])
    assert (note["outcome"], note["text"], note["parts"]) == ("disconnected", "Hel", 1)


def test_a_client_that_leaves_stops_the_upstreams_generator_too(server):
    since = len(ended(server, 0))

    left = python_clients.leave(
        "openai, `chat.completions.create(stream=True)`", server.url, "proxy"
    )

    notes = wait_for(lambda: (found := ended(server, since))[1:] and found)
    assert [note["who"] for note in notes] == ["proxy", "model"]
    assert notes[1]["at"] - left < 2


def test_nothing_of_the_inside_was_on_the_wire_and_the_server_was_well(server):
    assert server.process.poll() is None
    assert "an event stream failed" in server.log  # logged, with its traceback
    assert SECRET in server.log


@pytest.mark.parametrize("client", PYTHON)
def test_a_body_that_is_too_large_is_the_clients_own_error(server, client):
    said = python_clients.ask(client, server.url, "x" * 10_000_000)
    assert said["error"]["status"] == 413
    assert "body is larger" in said["error"]["message"]
