"""What a terminal may be shown."""

import re

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Replace control characters by U+FFFD: no server is to steer the terminal."""
    return _CONTROL.sub("\ufffd", text)
