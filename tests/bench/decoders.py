"""Decoder throughput: each decoder in its own process on the server's core, the same bytes.

`python -m tests.bench.decoders NAME FILE SECONDS` is what such a process runs.
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .contestants import (
    BENCH,
    NPM_PACKAGES,
    ROOT,
    importable,
    installed_version,
    missing_on_node,
    node_modules,
)
from .server import on_core

READ = 16_384  # bytes; what a socket read or a TLS record brings


@dataclass(frozen=True, slots=True)
class Case:
    """A stream of equal events, cut into reads: one event each, or `READ` bytes each."""

    title: str
    event: bytes
    count: int
    event_per_read: bool

    def reads(self) -> list[bytes]:
        if self.event_per_read:
            return [self.event] * self.count
        whole = self.event * self.count
        return [whole[start : start + READ] for start in range(0, len(whole), READ)]


def model_event() -> bytes:
    """One event of a chat completion stream, about 190 bytes."""
    choice = {"index": 0, "delta": {"content": " token"}, "finish_reason": None}
    chunk = {
        "id": "chatcmpl-9zYx8WvUtSrQp",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "small-model",
        "choices": [choice],
    }
    return f"data: {json.dumps(chunk, separators=(',', ':'))}\n\n".encode()


CASES = (
    Case("model JSON, 16 KiB reads", model_event(), 5_000, False),
    Case("model JSON, a read per event", model_event(), 5_000, True),
    Case("short text, 16 KiB reads", b"data: token 123\n\n", 20_000, False),
    Case("short text, a read per event", b"data: token 123\n\n", 20_000, True),
)


def ours(reads: Iterable[bytes]) -> Iterator[object]:
    from sse_asgi import EventStreamDecoder

    return itertools.chain.from_iterable(map(EventStreamDecoder().feed, reads))


def httpx_sse(reads: Iterable[bytes]) -> Iterator[object]:
    import httpx
    from httpx_sse import EventSource

    headers = {"content-type": "text/event-stream; charset=utf-8"}
    return EventSource(httpx.Response(200, headers=headers, content=iter(reads))).iter_sse()


def openai(reads: Iterable[bytes]) -> Iterator[object]:
    from openai._streaming import SSEDecoder

    return SSEDecoder().iter_bytes(iter(reads))


@dataclass(frozen=True, slots=True)
class Decoder:
    """A decoder to time: a function of this module, or on Node when there is none."""

    label: str
    package: str
    decode: Callable[[Iterable[bytes]], Iterator[object]] | None = None
    module: str = ""

    def missing(self) -> str | None:
        if self.decode is None:
            return missing_on_node(self.package)
        return None if importable(self.module) else f"Python module {self.module} is not installed"

    def version(self) -> str:
        return NPM_PACKAGES.get(self.package) or installed_version(self.package)


DECODERS = {
    "sse_asgi": Decoder("sse_asgi EventStreamDecoder", "", ours, "sse_asgi.wire.decoder"),
    "httpx-sse": Decoder("httpx-sse", "httpx-sse", httpx_sse, "httpx_sse"),
    "openai": Decoder("openai SSEDecoder", "openai", openai, "openai"),
    "eventsource-parser": Decoder("eventsource-parser on Node", "eventsource-parser"),
}


def compare(*, core: int, quick: bool) -> list[list[str]]:
    """Time every decoder that is there; return the table, head first.

    A cell is thousands of events per second of CPU, with the ratio to httpx-sse's.
    """
    present = {name: each for name, each in DECODERS.items() if not skipped(name, each)}
    rounds, seconds = (1, 0.15) if quick else (3, 0.4)
    rates: dict[str, list[list[float]]] = {name: [] for name in present}
    with tempfile.TemporaryDirectory() as folder:
        cases = Path(folder) / "cases.json"
        cases.write_text(json.dumps([described(case) for case in CASES]))
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}, decoders", flush=True)
            for name in present:
                rates[name].append(timed(name, cases, seconds, core=core))
    return tabulated(present, rates)


def skipped(name: str, decoder: Decoder) -> bool:
    reason = decoder.missing()
    if reason:
        print(f"skipped decoder {name}: {reason}", flush=True)
    return reason is not None


def described(case: Case) -> dict[str, object]:
    return {
        "event": case.event.decode(),
        "count": case.count,
        "read": len(case.event) if case.event_per_read else READ,
    }


def timed(name: str, cases: Path, seconds: float, *, core: int) -> list[float]:
    """Run one decoder in its process; return events per CPU second, one per case."""
    if DECODERS[name].decode is None:
        command = [shutil.which("node") or "node", str(BENCH / "node" / "decode.mjs")]
    else:
        command = [sys.executable, "-m", "tests.bench.decoders", name]
    with on_core(core):
        done = subprocess.run(
            [*command, str(cases), str(seconds)],
            cwd=ROOT,
            env=os.environ | {"BENCH_NODE_MODULES": str(node_modules() or "")},
            stdout=subprocess.PIPE,
            check=True,
        )
    return json.loads(done.stdout)


def tabulated(present: dict[str, Decoder], rates: dict[str, list[list[float]]]) -> list[list[str]]:
    medians = {
        name: [statistics.median(runs) for runs in zip(*rounds, strict=True)]
        for name, rounds in rates.items()
    }
    base = medians.get("httpx-sse")
    head = ["decoder", *(f"{case.title}, k events/s" for case in CASES)]
    lines = [
        [f"{decoder.label} {decoder.version()}".strip(), *rate_cells(medians[name], base)]
        for name, decoder in present.items()
    ]
    return [head, *lines]


def rate_cells(rates: list[float], base: list[float] | None) -> list[str]:
    if base is None:
        return [f"{rate / 1e3:,.0f}" for rate in rates]
    pairs = zip(rates, base, strict=True)
    return [f"{rate / 1e3:,.0f} ({rate / other:.2f})" for rate, other in pairs]


def events_per_second(name: str, case: Case, seconds: float) -> float:
    """Decode `case` over and over for `seconds` of CPU; the best pass counts.

    Raises:
        RuntimeError: If the decoder lost or made up events.
    """
    decode = DECODERS[name].decode
    assert decode is not None
    best, started = float("inf"), time.process_time()
    reads = case.reads()
    while time.process_time() - started < seconds:
        before = time.process_time()
        events = sum(1 for _ in decode(reads))
        best = min(best, time.process_time() - before)
        if events != case.count:
            raise RuntimeError(f"{name} found {events} events, not {case.count}")
    return case.count / best


if __name__ == "__main__":
    chosen, _, limit = sys.argv[1:]
    print(json.dumps([events_per_second(chosen, case, float(limit)) for case in CASES]))
