"""Which source the environment chooses, and the pace of the embedded one."""

import time
from contextlib import aclosing
from itertools import pairwise

import pytest

from sse_asgi.demo.openai import OpenAIEndpoint
from sse_asgi.demo.source import EmbeddedModel, choose_source

URL = "http://localhost:11434/v1"


@pytest.mark.parametrize("environment", [{}, {"OPENAI_BASE_URL": ""}, {"OPENAI_API_KEY": "k"}])
def test_without_a_base_url_the_embedded_model_answers(environment):
    source = choose_source(environment)
    assert isinstance(source, EmbeddedModel)
    assert "not an LLM" in source.name


@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({"OPENAI_BASE_URL": URL}, "the model at localhost:11434"),
        ({"OPENAI_BASE_URL": f" {URL}/ ", "OPENAI_MODEL": "tiny"}, "tiny at localhost:11434"),
        ({"OPENAI_BASE_URL": "https://me:pw@host/v1", "OPENAI_MODEL": "m"}, "m at host"),
    ],
)
def test_a_base_url_names_the_endpoint(environment, name):
    source = choose_source(environment)
    assert isinstance(source, OpenAIEndpoint)
    assert source.name == name


@pytest.mark.parametrize("url", ["localhost:80", "ftp://host/v1", "http://", "http://[::1", "x"])
def test_a_base_url_that_is_none_is_refused_by_name(url):
    with pytest.raises(ValueError, match="OPENAI_BASE_URL is"):
        choose_source({"OPENAI_BASE_URL": url})


@pytest.mark.anyio
@pytest.mark.matrix("anyio_backend")
async def test_the_embedded_model_speaks_at_the_pace_of_a_real_one():
    begun = time.monotonic()
    arrivals, text = [], ""
    async with aclosing(EmbeddedModel(seed=3).answer("The Queen")) as answer:
        async for token in answer:
            arrivals.append(time.monotonic() - begun)
            text += token
            if len(arrivals) == 20:
                break
    gaps = [after - before for before, after in pairwise(arrivals)]
    assert arrivals[0] > 0.25
    assert min(gaps) > 0.01
    assert len({round(gap, 3) for gap in gaps}) > 5  # jittered
    assert text.startswith("…Queen")
