"""What can be wrong with a stream, in words; `findings.toml` has them all."""

import tomllib
from importlib.resources import files

SEVERITIES = ("error", "warning", "note")
"""The gravest first."""

TEXTS: dict[str, dict[str, dict[str, str]]] = tomllib.loads(
    (files("sse_asgi.cli") / "findings.toml").read_text(encoding="utf-8")
)
"""The title and the remedy, by severity and the finding's code."""

CODES: tuple[str, ...] = tuple(code for severity in SEVERITIES for code in TEXTS[severity])
"""All codes, the gravest first."""
