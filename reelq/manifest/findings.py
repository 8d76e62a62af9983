"""What checking a manifest finds: a place to gather faults and warnings, so that all are told at once."""

from dataclasses import dataclass, field
from typing import Final

from reelq.errors import Fault

_SHOWN: Final = 60


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
        self.faults.append(Fault(at.line, column, message, shorten(value), hint, at.number))

    def warn(self, at: Place, column: str, message: str, value: str = "", hint: str = "") -> None:
        """Something that runs, and that the user may not want."""
        self.warnings.append(Fault(at.line, column, message, shorten(value), hint, at.number))


def shorten(value: str) -> str:
    """A value short enough to be shown within a sentence."""
    return value if len(value) <= _SHOWN else value[: _SHOWN - 1] + "…"


def did_you_mean(name: str | None) -> str:
    """The hint that offers a name; empty where there is none to offer."""
    return f"Did you mean {name!r}?" if name else ""


def line_breaks(text: str) -> int:
    """How many lines end within a text, whichever of LF, CR and CRLF ends them."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")
