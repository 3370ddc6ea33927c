"""Modules that tests import where they first use them.

Each process of pytest-xdist's imports every file of tests, and runs the tests of a few.
"""

import importlib


class Lazily:
    """A module that is imported when it is first asked for something."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str):
        if attribute.startswith("_"):  # pytest asks whether it is a fixture
            raise AttributeError(attribute)
        return getattr(importlib.import_module(self._name), attribute)


anthropic = Lazily("anthropic")
openai = Lazily("openai")
