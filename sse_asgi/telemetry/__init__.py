"""What OpenTelemetry is told of streams. Extra `otel`: its API alone."""

try:
    from sse_asgi.telemetry.telemetry import Telemetry
except ModuleNotFoundError as _error:
    if (_error.name or "").partition(".")[0] != "opentelemetry":
        raise
    raise ImportError("Telemetry needs OpenTelemetry: pip install 'sse-asgi[otel]'") from _error

__all__ = ["Telemetry"]
