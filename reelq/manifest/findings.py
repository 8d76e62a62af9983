"""Collects a manifest's faults and warnings, so that all are reported at once."""

from dataclasses import dataclass, field
from typing import Final

from reelq.errors import Fault

_LONGEST_SHOWN: Final = 60
_ESCAPES: Final = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\r\n"}


@dataclass(frozen=True, slots=True)
class Place:
    """A position in the manifest: a line, and the number of the row that starts there (0 outside the rows)."""

    line: int
    number: int = 0


@dataclass(slots=True)
class Findings:
    """The faults and warnings found so far."""

    faults: list[Fault] = field(default_factory=list)
    warnings: list[Fault] = field(default_factory=list)

    def fault(self, at: Place, column: str, message: str, value: str = "", hint: str = "") -> None:
        """Record a problem that prevents the manifest from running."""
        self.faults.append(_finding(at, column, message, value, hint))

    def warn(self, at: Place, column: str, message: str, value: str = "", hint: str = "") -> None:
        """Record something that runs, but that the user may not want."""
        self.warnings.append(_finding(at, column, message, value, hint))


def _finding(at: Place, column: str, message: str, value: str, hint: str) -> Fault:
    name = escape_surrogates(column)
    # A column's name is shown without quotes, and a terminal would obey its control characters.
    name = name if column.isprintable() else name.translate(_ESCAPES)
    shown = value if len(value) <= _LONGEST_SHOWN else value[: _LONGEST_SHOWN - 1] + "…"
    return Fault(at.line, name, message, escape_surrogates(shown), escape_surrogates(hint), at.number)


def escape_surrogates(text: str) -> str:
    """The text with its lone surrogates escaped: no file and no request could hold them."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")


def did_you_mean(name: str | None) -> str:
    """The hint that suggests a name; empty if there is none."""
    return f"Did you mean {name!r}?" if name else ""
