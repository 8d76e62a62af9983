"""A command on a terminal: what it writes there, keys that are pressed, and what stands on the screen then."""

import fcntl
import os
import pty
import re
import struct
import termios
from typing import Final

from tests.acceptance.running import Forked, User, until

CTRL_C: Final = "\x03"
_ESCAPE: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


class Terminal:
    """A command on a terminal of 24 lines; what it wrote there."""

    def __init__(self, user: User, *words: str, width: int = 80, **environment: str) -> None:
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
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
    def screen(self) -> str:
        """What can be seen by now."""
        self._read()
        return screen(self.written)

    @property
    def cursor_is_shown(self) -> bool:
        """Whether it is there by now."""
        self._read()
        return self.written.rfind("\x1b[?25l") <= self.written.rfind("\x1b[?25h")

    def _read(self) -> None:
        if self._ours < 0:
            return
        try:
            while data := os.read(self._ours, 65536):
                self.written += data.decode(errors="replace")
        except OSError:  # nothing now, or nobody is there any more
            return


def screen(written: str) -> str:
    """What stands on a terminal after this, as long as nothing scrolls away. It knows what `reelq` sends, no more."""
    lines, row = [""], 0
    for text, numbers, what in re.findall(r"([^\x1b]*)(?:\x1b\[([0-9;?]*)([A-Za-z]))?", written):
        for piece in re.split("([\r\n])", text):
            if piece == "\n":
                row += 1
                lines += [""] * (row == len(lines))
            else:
                assert piece == "\r" or piece.strip("\a").isprintable(), f"not expected on a terminal: {piece!r}"
                lines[row] += piece.strip("\r\a")
        match what, numbers:
            case "A", _:
                row = max(row - int(numbers or 1), 0)
            case "K", "2":
                lines[row] = ""
            case _:
                assert (what, numbers) in {("h", "?25"), ("l", "?25"), ("", "")} or what == "m", f"{numbers}{what}"
    return "\n".join(line.rstrip() for line in lines).rstrip()
