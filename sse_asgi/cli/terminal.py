"""What a terminal shows: text without control characters, and one status line below it."""

import os
import re
import shutil
import sys

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Replace control characters by U+FFFD: no server is to steer the terminal."""
    return _CONTROL.sub("\ufffd", text)


class Output:
    """Write text to stdout as it comes; a terminal is shown no control characters."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._in_line = False

    def write(self, text: str) -> None:
        """Write text, at once."""
        if not text:
            return
        encoding = sys.stdout.encoding or "utf-8"
        shown = printable(text) if self._is_terminal else text
        sys.stdout.write(shown.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
        self._in_line = not text.endswith("\n")

    def end_line(self) -> None:
        """End the line that is open, on a terminal; a pipe gets the text as it is."""
        if self._in_line and self._is_terminal:
            print(flush=True)
            self._in_line = False

    def say(self, *lines: str) -> None:
        """Write lines to stderr, not into a line that is open where both are shown."""
        self.end_line()
        if self._in_line and (sys.stderr.isatty() or _are_one()):
            print(file=sys.stderr)
        print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)


def _are_one() -> bool:
    try:
        return os.path.sameopenfile(sys.stdout.fileno(), sys.stderr.fileno())
    except OSError:  # no file of the system's
        return False


class StatusLine:
    """Keep the last line of a terminal for the status; the text scrolls above it.

    Elsewhere than on a terminal it shows nothing.
    """

    def __init__(self, *, enabled: bool) -> None:
        self.enabled = enabled and sys.stderr.isatty() and sys.stdout.isatty()
        self._rows = 0

    def show(self, text: str) -> None:
        """Show a text in place of the last one."""
        columns, rows = shutil.get_terminal_size()
        if rows != self._rows:
            # A newline makes room where the cursor is in the last row; to set the scrolling region
            # moves the cursor, hence save and restore.
            self._write(f"\n\x1b[1A\x1b7\x1b[1;{rows - 1}r\x1b8")
            self._rows = rows
        # Save the cursor, write in the last row in reverse, restore the cursor.
        self._write(f"\x1b7\x1b[{rows};1H\x1b[2K\x1b[7m{text[: columns - 1]}\x1b[0m\x1b8")

    def close(self) -> None:
        """Give the line back."""
        if self._rows:
            self._write(f"\x1b7\x1b[r\x1b[{self._rows};1H\x1b[2K\x1b8")
            self._rows = 0

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
