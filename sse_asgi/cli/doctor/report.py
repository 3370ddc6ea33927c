"""The report, for people and for programs."""

import json
import textwrap
from collections.abc import Sequence
from dataclasses import asdict

from sse_asgi.cli.doctor.exchange import Exchange
from sse_asgi.cli.doctor.findings import SEVERITIES, Finding
from sse_asgi.cli.terminal import printable

_WIDTH = 88
_COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36", "healthy": "1;32"}


def as_text(first: Exchange, findings: Sequence[Finding], *, colour: bool) -> str:
    """Write the report for a person."""

    def paint(kind: str, text: str) -> str:
        return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if colour else text

    blocks = [_seen(first)]
    for each in findings:
        head = f"{paint(each.severity, each.severity)}: {printable(each.title)} ({each.code})"
        blocks.append("\n".join([head, _part("Seen", each.evidence), _part("Remedy", each.remedy)]))
    blocks.append(_counted(findings) or paint("healthy", "No finding."))
    return "\n\n".join(blocks)


def as_json(first: Exchange, findings: Sequence[Finding], *, healthy: bool) -> str:
    """Write the report for a program: one JSON object."""
    observation = {
        "method": first.method,
        "status": first.status,
        "http_version": first.http_version,
        "headers": [list(field) for field in first.headers.items()],
        "response_at": first.response_at,
        "first_byte_at": first.byte_times[0] if first.byte_times else None,
        "ended_at": first.ended_at,
        "stopped_because": first.stop.value,
        "bytes": len(first.body),
        "events": len(first.events),
        "comments": len(first.records) - len(first.events),
    }
    report = {"url": first.url, "healthy": healthy, "findings": [asdict(each) for each in findings]}
    return json.dumps({**report, "observation": observation}, indent=2)


def _seen(first: Exchange) -> str:
    answer = f"{first.method} {first.url}: {first.status or 'no answer'} {first.http_version}"
    parts = [answer.strip()]
    if first.byte_times:
        parts.append(f"first byte after {first.byte_times[0]:.2f} s")
    if first.status:
        parts += [f"{len(first.events)} events in {first.ended_at:.2f} s", first.stop.value]
    return printable(", ".join(parts))


def _part(head: str, text: str) -> str:
    fill = textwrap.TextWrapper(_WIDTH, f"   {head}: ", "   ", break_long_words=False).fill
    return fill(printable(text))


def _counted(findings: Sequence[Finding]) -> str:
    counts = [(sum(each.severity == kind for each in findings), kind) for kind in SEVERITIES]
    named = [f"{count} {kind}{'s' if count > 1 else ''}" for count, kind in counts if count]
    return f"{', '.join(named)}." if named else ""
