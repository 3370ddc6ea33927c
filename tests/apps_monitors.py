"""Streams under Sentry and OpenTelemetry, as docs/how-to/error-monitors.md sets them up.

`python -m tests.apps_monitors` prints what the monitors have seen, as JSON. It is a process of its
own, for Sentry changes the libraries that it watches, and both keep what they are told for ever.
"""

import asyncio
import json
import os

from tests import documents

PAGE = documents.DOCS / "how-to" / "error-monitors.md"


class SeenBySentry:
    """Sentry's transport: what would be sent is kept."""

    def __new__(cls):
        from sentry_sdk.transport import Transport

        class InMemory(Transport):
            def __init__(self):
                super().__init__()
                self.events = []

            def capture_envelope(self, envelope):
                items = [item for item in envelope.items if item.type == "event"]
                self.events += [item.payload.json for item in items]

        return InMemory()


def told(event):
    """Return what matters of one event of Sentry's."""
    raised = event["exception"]["values"][-1]
    frames = raised["stacktrace"]["frames"]
    return {
        "logger": event.get("logger"),
        "level": event["level"],
        "message": (event.get("logentry") or {}).get("message"),
        "type": raised["type"],
        "mechanism": raised["mechanism"]["type"],
        "handled": raised["mechanism"]["handled"],
        "raised in": frames[-1]["function"],
        "variables": any("vars" in frame for frame in frames),
    }


def span_of(span):
    """Return what matters of one span."""
    return {
        "name": span.name,
        "kind": span.kind.name,
        "status": span.status.status_code.name,
        "code": span.attributes.get("http.status_code"),
        "exceptions": [event.attributes["exception.type"] for event in span.events],
        "is child": span.parent is not None,
    }


def make_apps(page):
    """Return the app of the page, and others around the same source."""
    from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
    from starlette.applications import Starlette
    from starlette.responses import StreamingResponse
    from starlette.routing import Mount, Route

    from sse_asgi import EventStream, EventStreamMiddleware
    from sse_asgi.starlette import EventStreamResponse

    async def at_once(request):
        raise LookupError("no such model")
        yield ""

    async def frames():
        async for word in page["words"]():
            yield f"data: {word}\n\n"

    async def bare(request):
        return StreamingResponse(frames(), media_type="text/event-stream")

    async def returned(request):
        return EventStreamResponse(page["words"]())

    def recording(transcript):
        page["was_recording"] = page["trace"].get_current_span().is_recording()

    def traced(app):
        return OpenTelemetryMiddleware(app)

    return {
        "page": page["app"],
        "with a hook": traced(EventStream(page["answer"], on_complete=recording)),
        "prefetch": traced(Starlette(routes=[Mount("/", app=EventStream(at_once, prefetch=True))])),
        "Starlette": Starlette(routes=[Route("/", returned)]),
        "middleware": EventStreamMiddleware(Starlette(routes=[Route("/", bare)])),
    }


async def read(app, leaves=False):
    """Read a stream to its end, or leave it after its first event; return what the server got."""
    from sse_asgi.testing import connect

    async with connect(app) as connection:
        async for _ in connection:
            if leaves:
                await connection.disconnect()
                break
    return type(connection.error).__name__


async def watch_all():
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)
    os.environ["SENTRY_DSN"] = "https://public@127.0.0.1:9/1"
    page = documents.run(PAGE)
    sentry = SeenBySentry()
    page["sentry_sdk"].get_client().transport = sentry
    apps = make_apps(page)
    seen = {}
    for name, app in [*apps.items(), ("left", apps["page"])]:
        spans.clear()
        sentry.events.clear()
        raised = await read(app, leaves=name == "left")
        seen[name] = {
            "raised": raised,
            "events": [told(event) for event in sentry.events],
            "spans": [span_of(span) for span in spans.get_finished_spans()],
        }
    seen["with a hook"]["was recording"] = page["was_recording"]
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(watch_all())))
