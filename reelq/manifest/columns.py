"""A manifest's columns, with their Chinese names and aliases, and the records by column."""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from reelq.manifest.findings import Findings, Place, did_you_mean

COLUMNS: Final = ("file", "instruction", "id", "references", "skill", "language", "session", "priority", "output")
"""The columns with a meaning, in the order of the documentation; any other is the user's own."""
CHINESE: Final = MappingProxyType(
    {
        "文件": "file",
        "指令": "instruction",
        "编号": "id",
        "参考": "references",
        "技能": "skill",
        "语言": "language",
        "会话": "session",
        "优先级": "priority",
        "输出": "output",
    }
)
"""The same columns, as a Chinese spreadsheet may name them."""
_COLUMN_BY_NAME: Final = {name: name for name in COLUMNS} | dict(CHINESE)
_LIKELY_MEANINGS: Final = {
    "video": "file",
    "clip": "file",
    "path": "file",
    "filename": "file",
    "prompt": "instruction",
    "text": "instruction",
}
_SIMILARITY: Final = 0.8  # "fil" means "file"; "title" and "version" are words of their own


def column_of(header: str) -> str | None:
    """The column that a header cell names, in any case; None for one of the user's own columns."""
    return _COLUMN_BY_NAME.get(header.lower())


def suggest_column(header: str) -> str | None:
    """The column that an unknown header probably means."""
    word = header.lower()
    if word in _LIKELY_MEANINGS:
        return _LIKELY_MEANINGS[word]
    return nearest(word, COLUMNS, _SIMILARITY)


def nearest(word: str, words: Sequence[str], likeness: float = 0.6) -> str | None:
    """The most similar word, if one is similar enough."""
    return next(iter(difflib.get_close_matches(word, words, n=1, cutoff=likeness)), None)


_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Place):
    """One row as it was written: its non-empty cells by column, and its references as a list."""

    cells: Mapping[str, str]
    references: Sequence[str]


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
        self._report_unusable(is_a_header=not self._one_line or bool(misspelt) or any(map(column_of, self.columns)))
        return False

    def _misspelt(self) -> dict[str, str]:
        """The column that each unknown column probably means, unless the same line has that one too."""
        suggestions = {key: suggest_column(key) for key in self.columns if not column_of(key)}
        return {key: name for key, name in suggestions.items() if name and self._lines.get(name) != self._lines[key]}

    def _report_unusable(self, *, is_a_header: bool) -> None:
        at = Place(min(self._lines.values(), default=1))
        found = ", ".join(self.columns.values())
        if not self.columns:
            self._findings.fault(at, "", "the manifest is empty", hint=self._explain)
        elif is_a_header:
            self._findings.fault(at, "", "there is no column file and no column instruction", found, self._explain)
        else:
            self._findings.fault(at, "", "there is no header", found, self._explain)
