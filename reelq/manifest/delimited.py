"""CSV into records: the delimiter told from the header, every record with the line it begins on."""

import csv
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final

from reelq.manifest.columns import column_of
from reelq.manifest.findings import Findings, Place, line_breaks
from reelq.manifest.table import Header, Record, Table, split_references

_FORMS: Final = MappingProxyType({",": "comma", ";": "semicolon", "\t": "tab"})
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?[,;\s]*', re.IGNORECASE)
_EXPLAIN: Final = "The first line names the columns, such as file,instruction"
_END: Final = "the end"

_Cells = tuple[int, list[str]]
"""A record before its columns are known: the line on which it begins, and its cells."""


class _Broken(Exception):
    """Nothing after this line can be read."""

    def __init__(self, line: int, message: str, *, value: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.finding = (Place(line), "", message, value, hint)


def read_delimited(text: str, findings: Findings) -> Table | None:
    """The table that a CSV text holds; None, and a fault, where its header or its form is wrong."""
    lines = list(io.StringIO(text, newline=""))  # parted at LF, CR and CRLF alike
    try:
        delimiter, first = _delimiter(lines)
        rows = list(_filled(lines[first:], delimiter, first + 1))
    except _Broken as broken:
        findings.fault(*broken.finding)
        return None
    header = Header(findings, _EXPLAIN)
    keys = _keys(*rows[0], header, findings) if rows else []
    if keys is None or not header.finish():
        return None
    numbered = enumerate(rows[1:], 1)
    records = [_record(Place(line, number), cells, keys, findings) for number, (line, cells) in numbered]
    return Table(tuple(header.columns.values()), [record for record in records if record], _FORMS[delimiter])


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter, and how many lines come before the header: one where Excel's `sep=` stands."""
    said = _SEP_LINE.fullmatch(lines[0]) if lines else None
    if said is None:
        return max(_FORMS, key=lambda delimiter: _likelihood(lines, delimiter)), 0
    if said[1] not in _FORMS:
        raise _Broken(1, "this delimiter is not taken", value=said[1], hint="Use a comma, a semicolon or a tab")
    return said[1], 1


def _likelihood(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """How well a delimiter parts the header: the columns known by name, then the cells."""
    try:
        _, header = next(_filled(lines, delimiter, 1), (1, []))
    except _Broken:
        return 0, 0
    return sum(1 for cell in header if column_of(cell)), len(header)


def _filled(lines: Sequence[str], delimiter: str, start: int) -> Iterator[_Cells]:
    """The records that hold something, each with the line it begins on; `start` is the number of the first line."""
    # Blanks before a quote are usual in files written by hand; blanks around a cell are dropped in any case.
    # One line more than there are shows whether a quote is still open at the end: then it is part of a cell.
    reader = csv.reader(itertools.chain(lines, [_END]), delimiter=delimiter, skipinitialspace=True)
    before = 0
    try:
        for cells in reader:
            if reader.line_num > len(lines):
                return _refuse_an_open_quote(cells, start + before, reader.line_num - before)
            if any(stripped := [cell.strip() for cell in cells]):
                yield start + before, stripped
            before = reader.line_num
    except csv.Error:  # the one thing that the reader refuses
        hint = f"At most {csv.field_size_limit():,} characters; most often a quote was opened here that is never closed"
        raise _Broken(start + before, "a cell is too long", value=lines[before].strip(), hint=hint) from None


def _refuse_an_open_quote(cells: list[str], line: int, height: int) -> None:
    if height > 1:
        opened = line + sum(line_breaks(cell) for cell in cells[:-1])
        hint = "Close it, or write it twice where it is part of the text"
        raise _Broken(opened, "a quote is opened here and never closed", value=cells[-1].removesuffix(_END), hint=hint)


def _keys(line: int, names: list[str], header: Header, findings: Findings) -> list[str] | None:
    """The key of each column, empty for one without a name; None, and faults, where two have the same name."""
    keys: list[str] = []
    twice = False
    for name in names:
        key = name and header.add(name.strip("\ufeff"), line)
        if key and key in keys:
            findings.fault(Place(line), name, "two columns have the same name", hint="Rename or remove one of them")
            twice = True
        keys.append(key)
    return None if twice else keys


def _record(at: Place, cells: list[str], keys: list[str], findings: Findings) -> Record | None:
    beyond = [cell for key, cell in itertools.zip_longest(keys, cells, fillvalue="") if cell and not key]
    if beyond:
        hint = "Put quotes around a cell that holds the delimiter, or give the column a name"
        findings.fault(at, "", "there are more cells than column names", beyond[0], hint)
        return None
    named = {key: cell for key, cell in zip(keys, cells, strict=False) if cell}
    references = split_references(named.pop("references", ""))
    return Record(line=at.line, number=at.number, cells=named, references=references)
