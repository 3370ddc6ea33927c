"""What OpenTelemetry has been told, read from the SDK's own exporters in memory."""

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from sse_asgi.telemetry import Telemetry


class Told:
    """A meter provider, a tracer provider, and what they were told."""

    def __init__(self):
        self.reader, self.exporter = InMemoryMetricReader(), InMemorySpanExporter()
        self.meters = MeterProvider(metric_readers=[self.reader])
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self.exporter))

    def telemetry(self, **options):
        return Telemetry(meter_provider=self.meters, **options)

    def traced(self, app, **options):
        """Put the ASGI instrumentation around an app."""
        options = {"exclude_spans": ["send", "receive"]} | options
        return OpenTelemetryMiddleware(app, tracer_provider=self.tracers, **options)

    @property
    def metrics(self):
        """Return each metric's points: attributes, and the sum, the count, or the value."""
        data = self.reader.get_metrics_data()
        found = {}
        for resource in data.resource_metrics if data else ():
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    found[metric.name] = [
                        (dict(point.attributes), getattr(point, "count", None) or point.value)
                        if hasattr(point, "value")
                        else (dict(point.attributes), point.count)
                        for point in metric.data.data_points
                    ]
        return found

    def points(self, name):
        """Return the raw points of a metric."""
        (metric,) = (
            metric
            for resource in self.reader.get_metrics_data().resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
        )
        return list(metric.data.data_points)

    @property
    def spans(self):
        return self.exporter.get_finished_spans()

    @property
    def server_span(self):
        (span,) = (each for each in self.spans if each.kind.name == "SERVER")
        return span
