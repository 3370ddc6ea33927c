"""The Python client of OpenAI, unmodified: it leaves answers in the background and comes back."""

import pytest

from tests.chat.live_apps import TEXT
from tests.chat.live_workers import calls, two_workers
from tests.lazily import openai
from tests.report import wait_for

pytestmark = pytest.mark.matrix


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    with two_workers(tmp_path_factory.mktemp("live")) as pair:
        yield pair


def client_of(server):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="x", max_retries=0)


def create(client, **options):
    return client.responses.create(model="mine", input="Hi", background=True, **options)


def text_of(events):
    return "".join(event.delta for event in events if event.type == "response.output_text.delta")


def test_it_leaves_twice_and_has_the_whole_text(workers):
    since = calls(*workers)
    here, there = map(client_of, workers)
    stream = create(here, stream=True)
    seen = [next(stream) for _ in range(12)]
    stream.close()
    for client, count in ((there, 15), (here, None)):
        number = seen[-1].sequence_number
        stream = client.responses.retrieve(seen[0].response.id, stream=True, starting_after=number)
        seen += stream if count is None else [next(stream) for _ in range(count)]
        stream.close()
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert text_of(seen) == TEXT == seen[-1].response.output_text
    assert calls(*workers) - since == 1


def test_it_polls_until_the_response_is_complete(workers):
    since = calls(*workers)
    here, there = map(client_of, workers)
    response = create(here)
    assert response.status == "in_progress"

    def completed():
        polled = there.responses.retrieve(response.id)
        return polled.status == "completed" and polled

    assert wait_for(completed, within=30).output_text == TEXT
    assert calls(*workers) - since == 1


def test_it_cancels_from_another_process(workers):
    here, there = map(client_of, workers)
    stream = create(here, stream=True)
    name = next(stream).response.id
    cancelled = there.responses.cancel(name)
    assert (cancelled.id, cancelled.status) == (name, "cancelled")
    rest = list(stream)
    assert rest[-1].response.status == "cancelled"
    assert TEXT.startswith(text_of(rest))


def test_an_unknown_response_is_its_own_error(workers):
    with pytest.raises(openai.NotFoundError):
        client_of(workers[0]).responses.retrieve("resp_unknown")
    with pytest.raises(openai.NotFoundError):
        client_of(workers[0]).responses.cancel("resp_unknown")
