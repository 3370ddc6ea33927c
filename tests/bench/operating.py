"""What admission and the like cost, on the stub server: `python -m tests.bench.operating`.

Each figure is the difference of two apps, with and without it, each the least of many short runs
that take turns: noise only adds time.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing

from sse_asgi import EventStream
from sse_asgi.limits import Limits

from .contestants import importable
from .stub import PACED_CHUNKS, App, Source, cpu_seconds, paced

RUNS = 25
STREAMS = 300
PACED_STREAMS = 50


async def short() -> AsyncIterator[str]:
    yield "token"


def app_of(source: Source, **options: object) -> App:
    return EventStream(lambda request: source(), **options)


def added(plain: App, other: App, *, streams: int, together: bool) -> float:
    """Return the µs of CPU that a stream costs more through the other app."""
    found: dict[App, list[float]] = {plain: [], other: []}
    with closing(asyncio.new_event_loop()) as loop:
        for _ in range(RUNS):
            for app, seconds in found.items():
                served = cpu_seconds(app, streams, together=together)
                seconds.append(loop.run_until_complete(served))
    return (min(found[other]) - min(found[plain])) * 1e6 / streams


def limits_added() -> float:
    """Return the µs that `Limits` costs a stream."""
    limits = Limits(1000, per=lambda request: request.headers.get("host"), each=1000)
    return added(app_of(short), app_of(short, limits=limits), streams=STREAMS, together=False)


def telemetry_added() -> float:
    """Return the µs that `Telemetry` costs a chunk, what it costs the stream included."""
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader

    from sse_asgi.telemetry import Telemetry

    telemetry = Telemetry(meter_provider=MeterProvider([InMemoryMetricReader()]))
    apps = app_of(paced), app_of(paced, telemetry=telemetry)
    return added(*apps, streams=PACED_STREAMS, together=True) / PACED_CHUNKS


def main() -> None:
    print(f"limits, µs a stream             {limits_added():8.2f}")
    if importable("opentelemetry.sdk"):
        print(f"telemetry, µs a chunk           {telemetry_added():8.2f}")


if __name__ == "__main__":
    main()
