"""What the apps under test report, read as it appears, and the waiting for it."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

Value = TypeVar("Value")
PATIENCE = 10.0  # seconds: for a busy machine, but less than until the next keep-alive


def wait_for(
    condition: Callable[[], Value], *, within: float = PATIENCE, what: str = "the condition"
) -> Value:
    """Return the first truthy value of `condition`; fail after `within` seconds."""
    deadline = time.monotonic() + within
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within} s, last seen {value!r}")
        time.sleep(0.004)
    return value


class Report:
    """The lines that the apps under test wrote, read as they appear."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._read = 0
        self._lock = threading.Lock()
        self._runs: dict[str, list[dict[str, Any]]] = {}

    def _refresh(self) -> None:
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read)
            new = file.read()
        whole = new[: new.rfind(b"\n") + 1]
        self._read += len(whole)
        for line in whole.splitlines():
            note = json.loads(line)
            self._runs.setdefault(note["run"], []).append(note)

    def notes(self, run: str, what: str) -> list[dict[str, Any]]:
        """Return every note of this kind that a run has left so far."""
        with self._lock:
            self._refresh()
        return [note for note in self._runs.get(run, ()) if note["what"] == what]

    def wait(self, run: str, what: str, *, within: float = PATIENCE) -> dict[str, Any]:
        """Return a run's first note of this kind, which may still have to come."""
        return wait_for(
            lambda: self.notes(run, what), within=within, what=f"note {what!r} of {run}"
        )[0]
