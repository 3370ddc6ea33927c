"""What can be wrong with a stream, and how grave it is."""

import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from importlib.resources import files

from sse_asgi.cli.doctor import answer, delivery, ending, frames
from sse_asgi.cli.doctor.examine import Examination

SEVERITIES = ("error", "warning", "note")
"""The gravest first."""

TEXTS: dict[str, dict[str, str]] = tomllib.loads(
    (files("sse_asgi.cli.doctor") / "findings.toml").read_text(encoding="utf-8")
)
"""Severity with title, and remedy, for each code."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a stream: a name for programs, words for people."""

    code: str
    severity: str
    title: str
    evidence: str
    remedy: str


def diagnose(case: Examination, *, ignored: Collection[str] = ()) -> list[Finding]:
    """Return what is wrong, the gravest first."""
    is_stream = case.first.is_stream or (case.first.status == 200 and case.first.events)
    modules = (answer, delivery, frames, ending) if is_stream else (answer,)
    evidence = {code: text for each in modules for code, text in each.look(case).items() if text}
    found = [_make(code, str(evidence[code])) for code in TEXTS if code in evidence]
    kept = [finding for finding in found if finding.code not in ignored]
    return sorted(kept, key=lambda finding: SEVERITIES.index(finding.severity))


def _make(code: str, evidence: str) -> Finding:
    severity = next(each for each in SEVERITIES if each in TEXTS[code])
    return Finding(code, severity, TEXTS[code][severity], evidence, TEXTS[code]["remedy"])
