"""What checking a manifest finds: a place to gather faults and warnings, so that all are told at once."""

from dataclasses import dataclass, field
from typing import Final

from reelq.errors import Fault

_SHOWN: Final = 60
_CONTROLS: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\r\n"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the manifest: a line of the file, and the number of the row that begins there (0 outside the rows)."""

    line: int
    number: int = 0


@dataclass(slots=True)
class Findings:
    """The faults and warnings found so far."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, at: Place, column: str, message: str, value: str = "", hint: str = "") -> None:
        """Something that keeps the manifest from running."""
        self.faults.append(Fault(at.line, _name(column), message, shorten(value), spelt(hint), at.number))

    def warn(self, at: Place, column: str, message: str, value: str = "", hint: str = "") -> None:
        """Something that runs, and that the user may not want."""
        self.warnings.append(Fault(at.line, _name(column), message, shorten(value), spelt(hint), at.number))


def shorten(value: str) -> str:
    """A value short enough to be shown within a sentence."""
    return spelt(value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…")


def _name(column: str) -> str:
    """A column's name, which is shown bare, without anything that a terminal would obey."""
    return spelt(column) if column.isprintable() else spelt(column).translate(_CONTROLS)


def spelt(text: str) -> str:
    """The text with each half of a surrogate pair spelt out: nothing that is written or sent could hold it."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def did_you_mean(name: str | None) -> str:
    """The hint that offers a name; empty where there is none to offer."""
    return f"Did you mean {name!r}?" if name else ""


def line_breaks(text: str) -> int:
    """How many lines end within a text, whichever of LF, CR and CRLF ends them."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")
