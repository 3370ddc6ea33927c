"""What compression gains, and costs: `python -m tests.bench.compressed`, for each framing.

Two thousand pieces of English the size of tokens, each an event that is flushed. Bytes and µs an
event, of the compressor alone.
"""

import re
import time

from sse_asgi.compression import _MAKERS

from .contestants import ROOT
from .dialects import FRAMINGS

TOKENS = 2_000


def events_of(framing):
    text = "".join(page.read_text() for page in sorted((ROOT / "docs" / "how-to").glob("*.md")))
    encoder = framing.encoder()
    encoder.begin()
    return [encoder.text([token]) for token in re.findall(r"\s?\w{1,5}|\W", text)[:TOKENS]]


def measure(events, coding):
    """Return bytes and µs an event."""
    press = _MAKERS[coding]()()
    before = time.process_time()
    size = sum(len(press(event, True)) for event in events)
    return size / len(events), (time.process_time() - before) * 1e6 / len(events)


def rows():
    """Give a row for each framing: its name, plain bytes, and bytes and µs of each coding."""
    for name, framing in FRAMINGS.items():
        events = events_of(framing)
        plain = sum(map(len, events)) / len(events)
        yield name, plain, *measure(events, "gzip"), *measure(events, "zstd")


def main():
    print("| Framing | plain, bytes | gzip, bytes | gzip, µs | zstd, bytes | zstd, µs |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, *figures in rows():
        print(f"| `{name}` | {' | '.join(f'{figure:.1f}' for figure in figures)} |")


if __name__ == "__main__":
    main()
