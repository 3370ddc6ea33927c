"""A finding."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with a stream.

    Attributes:
        code: Its name, for programs.
        title: What is wrong, in plain words.
        evidence: What was seen.
        remedy: What to do.
    """

    code: str
    title: str
    evidence: str
    remedy: str


def seconds(value: float) -> str:
    """Write a number of seconds."""
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def quoted(text: str | bytes) -> str:
    """Quote a little of what came."""
    value = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return repr(value if len(value) <= 50 else f"{value[:50]}...")
