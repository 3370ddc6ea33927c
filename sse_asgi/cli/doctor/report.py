"""The report, for people and for programs."""

import json
import textwrap
from collections.abc import Sequence

from sse_asgi.cli.doctor.findings.finding import Finding, seconds
from sse_asgi.cli.doctor.observation import Examination

_WIDTH = 88


def as_text(examination: Examination, findings: Sequence[Finding], notes: Sequence[str]) -> str:
    """Write the report for a person."""
    blocks = [_seen(examination)]
    for number, finding in enumerate(findings, 1):
        blocks.append(
            "\n".join(
                [
                    f"{number}. {finding.title} ({finding.code})",
                    _paragraph("Seen: ", finding.evidence),
                    _paragraph("Remedy: ", finding.remedy),
                ]
            )
        )
    blocks += [_paragraph("Note: ", note) for note in notes]
    count = len(findings)
    blocks.append("No finding." if not count else f"{count} finding{'s' if count > 1 else ''}.")
    return "\n\n".join(blocks)


def as_json(examination: Examination, findings: Sequence[Finding], notes: Sequence[str]) -> str:
    """Write the report for a program: one JSON object."""
    first = examination.first
    report = {
        "url": first.url,
        "healthy": not findings,
        "findings": [
            {
                "code": finding.code,
                "title": finding.title,
                "evidence": finding.evidence,
                "remedy": finding.remedy,
            }
            for finding in findings
        ],
        "notes": list(notes),
        "observation": {
            "method": first.method,
            "status": first.status,
            "http_version": first.http_version,
            "headers": [list(field) for field in first.headers],
            "response_at": first.response_at,
            "first_byte_at": first.first_byte_at,
            "ended_at": first.ended_at,
            "stopped_because": first.stop.value,
            "bytes": len(first.body),
            "events": len(examination.events),
            "comments": len(examination.records) - len(examination.events),
        },
    }
    return json.dumps(report, indent=2)


def _seen(examination: Examination) -> str:
    first = examination.first
    parts = [
        f"{first.method} {first.url}: {first.status or 'no answer'} {first.http_version}".strip()
    ]
    if first.first_byte_at is not None:
        parts.append(f"first byte after {seconds(first.first_byte_at)}")
    if first.status:
        parts.append(f"{len(examination.events)} events in {seconds(first.ended_at)}")
        parts.append(first.stop.value)
    return ", ".join(parts)


def _paragraph(head: str, text: str) -> str:
    return textwrap.fill(
        text, _WIDTH, initial_indent=f"   {head}", subsequent_indent="   ", break_long_words=False
    )
