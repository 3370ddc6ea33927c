"""`sse-asgi doctor`: why doesn't my stream stream?"""

import argparse
import json
import os
import sys
import textwrap
from collections.abc import Collection, Sequence
from functools import partial
from typing import NamedTuple

import httpx

from sse_asgi.cli.checks import seen_in
from sse_asgi.cli.exchange import Case, Exchange, Stop, observe
from sse_asgi.cli.findings import SEVERITIES, TEXTS
from sse_asgi.cli.terminal import printable

_UNREACHABLE = 4
_INTERRUPTED = 130
_FOLLOW_UP = 5.0
"""Seconds that the second look waits for its first event, at most."""
_HEADERS = {
    "accept": "text/event-stream",
    "accept-encoding": "gzip, deflate",
    "cache-control": "no-cache",
    "user-agent": "sse-asgi-doctor",
}
_WIDTH = 88
_COLOURS = {"error": "1;31", "warning": "1;33", "note": "1;36", "healthy": "1;32"}


class Finding(NamedTuple):
    """Something that is wrong with a stream: a name for programs, words for people."""

    code: str
    severity: str
    title: str
    evidence: str
    remedy: str


def run(options: argparse.Namespace) -> int:
    """Examine the stream, print the report, and return how grave it is."""
    if not options.json and sys.stderr.isatty():
        print(f"watching {options.url}, for up to {2 * options.wait:.0f} s", file=sys.stderr)
    try:
        case = examine(options)
    except KeyboardInterrupt:
        print("interrupted before the examination was complete", file=sys.stderr)
        return _INTERRUPTED
    findings = diagnose(case, ignored=options.ignore)
    grave = SEVERITIES[: SEVERITIES.index(options.fail_on) + 1]
    failed = any(finding.severity in grave for finding in findings)
    if options.json:
        report = {"seen": _seen(case.first), "healthy": not failed}
        print(json.dumps({**report, "findings": [each._asdict() for each in findings]}, indent=2))
    else:
        print(_as_text(case.first, findings))
    return _UNREACHABLE if case.first.stop is Stop.NO_CONNECTION else int(failed)


def examine(options: argparse.Namespace) -> Case:
    """Watch the stream; then, if a browser would do so by itself, connect again."""
    headers = httpx.Headers(_HEADERS)
    headers.update(options.headers)
    method = options.method or ("GET" if options.json_body is None else "POST")
    with httpx.Client() as client:
        ask = partial(observe, client, method, options.url, json=options.json_body)
        first, again = ask(headers=headers, wait=options.wait), None
        last_id = first.events[-1].last_event_id if first.events else ""
        if method == "GET" and first.events and (last_id or first.stop is Stop.ENDED):
            resume = [(b"last-event-id", last_id.encode())] if last_id else []
            resuming = httpx.Headers([*headers.raw, *resume])
            again = ask(headers=resuming, wait=min(options.wait, _FOLLOW_UP), one_event=True)
    return Case(first, again, options.done)


def diagnose(case: Case, *, ignored: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong, the gravest first."""
    seen = seen_in(case)
    return [
        Finding(code, severity, text["title"], seen[code], text["remedy"])
        for severity in SEVERITIES
        for code, text in TEXTS[severity].items()
        if code in seen and code not in ignored
    ]


def _seen(first: Exchange) -> str:
    answer = f"{first.method} {first.url}: {first.status or 'no answer'} {first.http_version}"
    parts = [answer.strip()]
    if first.arrivals:
        parts.append(f"first byte after {first.arrivals[0][0]:.2f} s")
    if first.status:
        parts += [f"{len(first.events)} events in {first.ended_at:.2f} s", first.stop]
    return printable(", ".join(parts))


def _as_text(first: Exchange, findings: Sequence[Finding]) -> str:
    blocks = [_seen(first)]
    for each in findings:
        head = f"{_painted(each.severity, each.severity)}: {each.title} ({each.code})"
        blocks.append("\n".join([head, _part("Seen", each.evidence), _part("Remedy", each.remedy)]))
    return "\n\n".join(blocks if findings else [*blocks, _painted("healthy", "No finding.")])


def _painted(kind: str, text: str) -> str:
    is_coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    return f"\x1b[{_COLOURS[kind]}m{text}\x1b[0m" if is_coloured else text


def _part(head: str, text: str) -> str:
    fill = textwrap.TextWrapper(_WIDTH, f"   {head}: ", "   ", break_long_words=False).fill
    return fill(printable(text))
