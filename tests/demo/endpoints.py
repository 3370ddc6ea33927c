"""The fake endpoint as a server of its own."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import require
from tests.servers import Running, launch

UVICORN = "uvicorn tests.demo.fake_openai:app --host 127.0.0.1 --no-access-log --port"


@contextlib.contextmanager
def fake_endpoint(directory: Path) -> Iterator[Running]:
    """Run `fake_openai` under uvicorn for the length of the block."""
    require("starlette")
    running = launch(
        lambda port: [sys.executable, "-m", *UVICORN.split(), str(port)],
        directory=directory,
        name="endpoint",
        ready=lambda running: "open" in running.get("/seen"),
    )
    try:
        yield running
    finally:
        running.stop()
