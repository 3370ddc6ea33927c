"""The client of OpenAI-compatible endpoints, against a real server."""

import re
from contextlib import aclosing

import anyio
import pytest

from sse_asgi.demo.openai import EndpointError, OpenAIEndpoint
from tests.demo.endpoints import fake_endpoint
from tests.demo.fake_openai import AWKWARD
from tests.servers import free_port

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend():
    """As uvicorn, which serves the demo; under trio httpx warns of its own open generators."""
    return "asyncio"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory):
    with fake_endpoint(tmp_path_factory.mktemp("endpoint")) as running:
        yield running


def client(endpoint, base="one", **options):
    return OpenAIEndpoint(f"{endpoint.url}/{base}/v1", **options)


async def collect(source, prompt):
    return [text async for text in source.answer(prompt)]


async def test_yields_the_deltas_and_nothing_else(endpoint):
    assert await collect(client(endpoint), "one two three") == ["one ", "two ", "three "]


async def test_asks_for_the_model_with_the_key_and_the_prompt(endpoint):
    source = client(endpoint, api_key="sesame", model="special")
    await collect(source, "what I asked")
    (request,) = [
        each
        for each in endpoint.get("/seen")["requests"]
        if each["messages"] == [{"role": "user", "content": "what I asked"}]
        and each["model"] == "special"
    ][-1:]
    assert request["authorization"] == "Bearer sesame"
    assert request["stream"] is True


async def test_every_character_arrives(endpoint):
    assert await collect(client(endpoint), "awkward") == [text for text in AWKWARD if text]


async def test_an_only_model_is_found_and_then_named(endpoint):
    source = client(endpoint)
    assert source.name.startswith("the model at ")
    await collect(source, "hello")
    assert source.name.startswith("tiny at ")
    assert endpoint.get("/seen")["requests"][-1]["authorization"] is None


@pytest.mark.parametrize(
    ("base", "message"),
    [
        ("many", r"has 3 models: set OPENAI_MODEL to one of them \(small, middle, large\)"),
        ("none", r"has 0 models: set OPENAI_MODEL"),
        ("nowhere", r"answered 500"),
        ("odd", r"lists no models: set OPENAI_MODEL"),
    ],
)
async def test_models_to_choose_from_are_listed(endpoint, base, message):
    with pytest.raises(EndpointError, match=message):
        await collect(client(endpoint, base), "hello")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("unauthorized", "answered 401: no such key"),
        ("plain-error", "answered 404: model not found"),
        ("page", "answered 502: Bad gateway x{288}$"),
        ("empty", "answered 503: Service Unavailable"),
    ],
)
async def test_a_refusal_is_told_with_its_reason(endpoint, prompt, message):
    with pytest.raises(EndpointError, match=message):
        await collect(client(endpoint, model="m"), prompt)


@pytest.mark.parametrize(
    ("prompt", "before", "message"),
    [
        ("failing", ["so far"], "failed: the engine is overloaded"),
        ("cut", ["half of"], "ended before the answer was complete"),
        ("only-done", ["half of"], "ended before the answer was complete"),
        ("garbage", ["so far"], "sent what is no completion chunk: is it OpenAI-compatible\\?$"),
        ("a-number", ["so far"], "no completion chunk"),
        ("a-list", ["so far"], "no completion chunk"),
        ("wrong-choices", ["so far"], "ended before the answer was complete"),
        ("deep", ["so far"], "no completion chunk"),
    ],
)
async def test_what_breaks_off_gives_its_text_and_then_a_clear_error(
    endpoint, prompt, before, message
):
    texts = []
    with pytest.raises(EndpointError, match=message) as caught:
        async for text in client(endpoint).answer(prompt):
            texts.append(text)
    assert texts == before
    assert str(caught.value).startswith(f"{endpoint.url}/one/v1 ")


async def test_a_stream_without_the_end_marker_is_complete_when_it_says_so(endpoint):
    assert await collect(client(endpoint), "without-done") == ["whole"]


async def test_an_endpoint_that_is_not_there_is_named():
    url = f"http://127.0.0.1:{free_port()}/v1"
    with pytest.raises(EndpointError, match=re.escape(f"{url} did not answer: ")):
        await collect(OpenAIEndpoint(url, model="m"), "hello")


async def test_a_password_in_the_url_is_not_told():
    url = f"http://me:secret@127.0.0.1:{free_port()}/v1"
    with pytest.raises(EndpointError) as caught:
        await collect(OpenAIEndpoint(url, model="m"), "hello")
    assert "secret" not in str(caught.value)


async def test_leaving_closes_the_connection_to_the_endpoint(endpoint):
    async with aclosing(client(endpoint).answer("endless")) as answer:
        assert await anext(answer) == "tick "
        assert endpoint.get("/seen")["open"] == 1
    with anyio.fail_after(5):
        while endpoint.get("/seen")["open"]:
            await anyio.sleep(0.01)
