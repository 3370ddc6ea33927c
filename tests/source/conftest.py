"""The event loops that a source must live in: those of a stream."""

from tests.stream.conftest import anyio_backend  # noqa: F401 - a fixture
