"""A command on a terminal: what it writes there, keys that are pressed, and what stands on the screen then."""

import fcntl
import os
import pty
import re
import struct
import termios
from typing import Final

from rich.cells import cell_len

from tests.acceptance.running import Forked, User, until

HEIGHT: Final = 24
CTRL_C: Final = "\x03"
_ESCAPE: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Terminal:
    """A command on a terminal of this size; what it wrote there."""

    def __init__(self, user: User, *words: str, width: int = 80, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, width, 0, 0))
        self.width = width
        env = {**user.environment, "TERM": "xterm", **environment}
        self.process = Forked(["reelq", *words], cwd=user.folder, env=env, terminal=theirs)
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self.written = ""

    def says(self, words: str) -> bool:
        """Whether it has said so by now."""
        self._read()
        return words in _ESCAPE.sub("", self.written)

    def types(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def ends(self) -> int | None:
        # It is read all the while: a terminal that nobody reads holds up whoever writes to it.
        until(lambda: self.says("") and self.process.poll() is not None, "the command's end")
        self._read()
        os.close(self._ours)
        self._ours = -1
        return self.process.returncode

    @property
    def screen(self) -> "Screen":
        """What can be seen by now."""
        self._read()
        return Screen(self.written, self.width)

    def _read(self) -> None:
        if self._ours < 0:
            return
        try:
            while data := os.read(self._ours, 65536):
                self.written += data.decode(errors="replace")
        except OSError:  # nothing now, or nobody is there any more
            return


class Screen:
    """What stands on a terminal after all this was written to it. It knows what `reelq` sends, and refuses the rest."""

    def __init__(self, written: str, width: int) -> None:
        self.width = width
        self.lines = [""]
        self.cursor_is_shown = True
        self._row = 0
        self._column = 0
        at = 0
        for escape in _ESCAPE.finditer(written):
            self._put(written[at : escape.start()])
            self._obey(*escape.groups())
            at = escape.end()
        self._put(written[at:])

    @property
    def text(self) -> str:
        """All of it, lines that have scrolled away included."""
        return "\n".join(line.rstrip() for line in self.lines).rstrip()

    def _put(self, text: str) -> None:
        for letter in text:
            if letter == "\r":
                self._column = 0
            elif letter == "\n":
                self._down()
            elif letter.isprintable():
                self._write(letter)
            else:
                assert letter == "\a", f"not expected on a terminal: {letter!r}"

    def _write(self, letter: str) -> None:
        if self._column + cell_len(letter) > self.width:
            self._down()
            self._column = 0
        line = self.lines[self._row].ljust(self._column)
        self.lines[self._row] = line[: self._column] + letter + line[self._column + 1 :]
        self._column += 1

    def _down(self) -> None:
        self._row += 1
        if self._row == len(self.lines):
            self.lines.append("")

    def _obey(self, numbers: str, what: str) -> None:
        match what, numbers:
            case "m", _:
                return  # a colour
            case "A", _:  # up, at most to the top of what can be seen
                self._row = max(self._row - int(numbers or 1), len(self.lines) - HEIGHT, 0)
            case "K", "2":
                self.lines[self._row] = ""
            case (("h" | "l"), "?25"):
                self.cursor_is_shown = what == "h"
            case _:
                raise AssertionError(f"not expected on a terminal: {numbers}{what}")
