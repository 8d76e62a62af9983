"""A manifest's text as records, told by their columns' names: what CSV and JSON Lines have in common."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reelq.manifest.columns import column_of, meant_by
from reelq.manifest.findings import Findings, Place, did_you_mean

_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Place):
    """One row as it was written: the cells that are not empty, by column, and the references one by one."""

    cells: Mapping[str, str]
    references: Sequence[str]


@dataclass(frozen=True, slots=True)
class Table:
    """All records, and the columns as the user named them."""

    columns: tuple[str, ...]
    records: Sequence[Record]
    form: str
    """How the manifest is written: comma, semicolon, tab or json."""


def split_references(cell: str) -> list[str]:
    """The names in a cell of references."""
    return [name for part in cell.split(";") if (name := part.strip())]


def control_character(text: str) -> str:
    """The first character that no text should hold, as its code point; empty where there is none."""
    found = _CONTROLS.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


class Header:
    """The columns met so far, each under the key by which its cells are found."""

    def __init__(self, findings: Findings, explain: str, *, one_line: bool = True) -> None:
        """`explain` says how columns are named in this form of a manifest; `one_line`, that one line names them all."""
        self.columns: dict[str, str] = {}
        """The name as given, by key: the column's own name, or the given one for a column of the user's."""
        self._findings = findings
        self._explain = explain
        self._one_line = one_line
        self._lines: dict[str, int] = {}

    def add(self, given: str, line: int) -> str:
        """The key of a column, met here if it was not met before."""
        key = column_of(given) or given
        if key not in self.columns:
            self.columns[key] = given
            self._lines[key] = line
            if found := control_character(given):
                message = "there is a control character in this column's name"
                self._findings.fault(Place(line), given, message, hint=f"Remove {found}")
        return key

    def finish(self) -> bool:
        """Warn of what looks misspelt; False, and a fault, where the columns can't be those of a manifest."""
        misspelt = self._misspelt()
        for key, meant in misspelt.items():
            message = "this column has no meaning and is only kept"
            self._findings.warn(Place(self._lines[key]), key, message, hint=did_you_mean(meant))
        if "file" in self.columns or "instruction" in self.columns:
            return True
        self._refuse(is_a_header=not self._one_line or bool(misspelt) or any(map(column_of, self.columns)))
        return False

    def _misspelt(self) -> dict[str, str]:
        """What each unknown column was probably meant to be, where that column does not come with it."""
        meant = {key: meant_by(key) for key in self.columns if not column_of(key)}
        return {key: name for key, name in meant.items() if name and self._lines.get(name) != self._lines[key]}

    def _refuse(self, *, is_a_header: bool) -> None:
        at = Place(min(self._lines.values(), default=1))
        found = ", ".join(self.columns.values())
        if not self.columns:
            self._findings.fault(at, "", "the manifest is empty", hint=self._explain)
        elif is_a_header:
            self._findings.fault(
                at, "", "there is neither a column file nor a column instruction", found, self._explain
            )
        else:
            self._findings.fault(at, "", "there is no header", found, self._explain)
