"""A manifest's columns, with their Chinese names and aliases, the records by column, and the row that they make."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reelq.job import Route
from reelq.manifest.findings import Findings, Place, did_you_mean

COLUMNS: Final = MappingProxyType(
    {
        "file": "文件",
        "instruction": "指令",
        "id": "编号",
        "references": "参考",
        "skill": "技能",
        "language": "语言",
        "session": "会话",
        "priority": "优先级",
        "output": "输出",
    }
)
"""The columns with a meaning, each with its Chinese name, in the order of the documentation."""
INTEGERS: Final = MappingProxyType({"priority": "For example 5 or -1; a higher number comes first"})
"""The columns that hold whole numbers, by default 0, each with the hint for a wrong one."""
_COLUMN_BY_NAME: Final = {name: column for column, chinese in COLUMNS.items() for name in (column, chinese)}
_LIKELY_MEANINGS: Final = {
    **dict.fromkeys(("video", "clip", "path", "filename"), "file"),
    **dict.fromkeys(("prompt", "text"), "instruction"),
}
_SIMILARITY: Final = 0.8  # "fil" means "file"; "title" and "version" are words of their own
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def column_of(header: str) -> str | None:
    """The column that a header cell names, in any case; None for one of the user's own columns."""
    return _COLUMN_BY_NAME.get(header.lower())


def nearest(word: str, words: Sequence[str], likeness: float = 0.6) -> str | None:
    """The most similar word, if one is similar enough."""
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=likeness)), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Place):
    """One row as it was written: its non-empty cells by column, and its references as a list."""

    cells: Mapping[str, str]
    references: Sequence[str]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of work, as the manifest asks for it."""

    number: int
    """Its position among the rows, from 1."""
    line: int
    """The line of the manifest on which it starts."""
    id: str
    file: str
    instruction: str
    references: tuple[str, ...]
    skill: str
    language: str
    session: str
    priority: int
    output: str
    """The result's path below the output folder; empty if the row has no result to download."""
    route: Route
    extra: Mapping[str, str]
    """The user's own columns, in the manifest's order."""


@dataclass(frozen=True, slots=True)
class Table:
    """All records, and the columns as the user named them."""

    columns: tuple[str, ...]
    records: Sequence[Record]
    form: str
    """The format of the manifest: comma, semicolon, tab or json."""


def split_references(cell: str) -> list[str]:
    """The names in a cell of references."""
    return [name for part in cell.split(";") if (name := part.strip())]


def control_character(text: str) -> str:
    """The first disallowed control character, as its code point; empty if there is none."""
    found = _CONTROLS.search(text)
    return f"U+{ord(found[0]):04X}" if found else ""


class Header:
    """The columns found so far, each under the key of its cells."""

    def __init__(self, findings: Findings, explain: str, *, one_line: bool = True) -> None:
        """`explain` is the hint on how this format names columns; `one_line` says that one line names them all."""
        self.columns: dict[str, str] = {}
        """The name as given, by key. A known column's key is its standard name, any other's is the given name."""
        self._findings = findings
        self._explain = explain
        self._one_line = one_line
        self._lines: dict[str, int] = {}

    def add(self, name: str, line: int) -> str:
        """The key of a column, which is added if it is new."""
        key = column_of(name) or name
        if key not in self.columns:
            self.columns[key] = name
            self._lines[key] = line
            if found := control_character(name):
                message = "there is a control character in this column's name"
                self._findings.fault(Place(line), name, message, hint=f"Remove {found}")
        return key

    def finish(self) -> bool:
        """Warn about misspelt columns. False, with a fault, if these can't be the columns of a manifest."""
        misspelt = self._misspelt()
        for key, suggestion in misspelt.items():
            message = "this column is unknown and is only copied to the results"
            self._findings.warn(Place(self._lines[key]), key, message, hint=did_you_mean(suggestion))
        if "file" in self.columns or "instruction" in self.columns:
            return True
        is_a_header = not self._one_line or misspelt or any(map(column_of, self.columns))
        message = "there is no column file and no column instruction" if is_a_header else "there is no header"
        message = message if self.columns else "the manifest is empty"
        at = Place(min(self._lines.values(), default=1))
        self._findings.fault(at, "", message, ", ".join(self.columns.values()), self._explain)
        return False

    def _misspelt(self) -> dict[str, str]:
        """The column that each unknown column probably means, unless the same line has that one too."""
        unknown = [key for key in self.columns if not column_of(key)]
        suggestions = {key: _probable_column(key.lower()) for key in unknown}
        return {key: name for key, name in suggestions.items() if name and self._lines.get(name) != self._lines[key]}


def _probable_column(word: str) -> str | None:
    return _LIKELY_MEANINGS.get(word) or nearest(word, list(COLUMNS), _SIMILARITY)
