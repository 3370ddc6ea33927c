"""Where the demo's words come from."""

import random
from collections.abc import AsyncGenerator, Mapping
from typing import Protocol

import anyio

from sse_asgi.demo.model import NGramModel, embedded_text
from sse_asgi.demo.openai import OpenAIEndpoint

FIRST_TOKEN_DELAY = (0.3, 0.5)
"""Seconds before the first token, drawn evenly between the two."""
TOKEN_DELAY = (0.015, 0.06)
"""Seconds between two tokens, drawn evenly between the two."""
LENGTH = 400
"""Tokens of an answer, at least: some 15 seconds, so that there is time to disturb it."""


class Source(Protocol):
    """Something that answers a prompt, chunk by chunk."""

    @property
    def name(self) -> str:
        """What answers, in a few words for the page."""
        ...

    @property
    def detail(self) -> str:
        """One sentence on what it is, for the page."""
        ...

    @property
    def is_repeatable(self) -> bool:
        """Whether the same seed gives the same answer."""
        ...

    def answer(self, prompt: str, *, seed: int | None = None) -> AsyncGenerator[str]:
        """Yield the answer to a prompt."""
        ...


class EmbeddedModel:
    """The n-gram model, trained now and paced like a real one.

    Args:
        seed: Fixes the passages and the pace; `None` gives others each time.
    """

    name = "a small n-gram model, not an LLM"
    is_repeatable = True

    def __init__(self, *, seed: int | None = None) -> None:
        self._model = NGramModel(embedded_text())
        self._seed = seed

    @property
    def detail(self) -> str:
        """How it was made."""
        return (
            f"Trained at the start on {self._model.words:,} words of Alice\u2019s Adventures in "
            "Wonderland; set OPENAI_BASE_URL for a real model."
        )

    async def answer(self, prompt: str, *, seed: int | None = None) -> AsyncGenerator[str]:
        """Write a passage at the pace of a model that thinks."""
        seed = self._seed if seed is None else seed
        rng = random.Random(seed)  # noqa: S311 - a pace, no secret
        await anyio.sleep(rng.uniform(*FIRST_TOKEN_DELAY))
        for token in self._model.generate(prompt, seed=seed, max_tokens=LENGTH):
            yield token
            await anyio.sleep(rng.uniform(*TOKEN_DELAY))


def choose_source(environment: Mapping[str, str]) -> Source:
    """Choose the endpoint that the environment names, or else the embedded model.

    Args:
        environment: OPENAI_BASE_URL names the endpoint, as in `https://api.openai.com/v1`;
            OPENAI_API_KEY and OPENAI_MODEL go with it.

    Raises:
        ValueError: If OPENAI_BASE_URL is no http or https URL.
    """
    base_url = environment.get("OPENAI_BASE_URL", "").strip()
    if not base_url:
        return EmbeddedModel()
    return OpenAIEndpoint(
        base_url,
        api_key=environment.get("OPENAI_API_KEY", "").strip() or None,
        model=environment.get("OPENAI_MODEL", "").strip() or None,
    )
