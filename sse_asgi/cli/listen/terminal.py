"""What a terminal shows: the stream's text, and one status line below it."""

import os
import re
import shutil
import sys
from typing import TextIO

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class Output:
    """Write what comes to a stream, at once.

    On a terminal a control character of the text is shown as U+FFFD: a server is not to steer it.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stdout
        self._is_terminal = self._file.isatty()
        self._in_line = False

    def write(self, text: str) -> None:
        """Write text."""
        if not text:
            return
        if self._is_terminal:
            text = _CONTROL.sub("\ufffd", text)
        encoding = self._file.encoding or "utf-8"
        self._file.write(text.encode(encoding, "replace").decode(encoding))
        self._file.flush()
        self._in_line = not text.endswith("\n")

    def finish(self) -> None:
        """End the line, on a terminal; a pipe gets the text as it is."""
        if self._in_line and self._is_terminal:
            self._file.write("\n")
            self._file.flush()
            self._in_line = False

    def begin_line(self, file: TextIO) -> None:
        """Begin a line in another file, where that shows the text, too, and its line is open."""
        if self._in_line and (file.isatty() or _are_same(file, self._file)):
            print(file=file)


def _are_same(one: TextIO, other: TextIO) -> bool:
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except OSError:  # no file of the system's
        return False


class StatusLine:
    """Keep the last line of a terminal for the status; the text scrolls above it.

    Elsewhere than on a terminal it shows nothing.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file or sys.stderr
        self.enabled = self._file.isatty() and sys.stdout.isatty()
        self._rows = 0

    def show(self, text: str) -> None:
        """Show a text in place of the last one."""
        if not self.enabled:
            return
        columns, rows = shutil.get_terminal_size()
        if rows != self._rows:
            self._reserve(rows)
        # Save the cursor, write in the last row in reverse, restore the cursor.
        line = text[: columns - 1]
        self._write(f"\x1b7\x1b[{rows};1H\x1b[2K\x1b[7m{line}\x1b[0m\x1b8")

    def close(self) -> None:
        """Give the line back."""
        if self._rows:
            self._write(f"\x1b7\x1b[r\x1b[{self._rows};1H\x1b[2K\x1b8")
            self._rows = 0

    def _reserve(self, rows: int) -> None:
        # A newline makes room where the cursor is in the last row; to set the scrolling region
        # moves the cursor, hence save and restore.
        self._write(f"\n\x1b[1A\x1b7\x1b[1;{rows - 1}r\x1b8")
        self._rows = rows

    def _write(self, text: str) -> None:
        self._file.write(text)
        self._file.flush()
