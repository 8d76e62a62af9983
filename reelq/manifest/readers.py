"""Reads manifests in CSV, TSV and JSON Lines, in any encoding that spreadsheets write."""

import codecs
import csv
import io
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from reelq.manifest.columns import Header, Record, Table, column_of, split_references
from reelq.manifest.findings import Findings, Place

_SAVE_AS_HINT: Final = "In the spreadsheet choose “Save as” and “CSV UTF-8”"


def decode(data: bytes, findings: Findings) -> str | None:
    """The text of a manifest; None, with a fault, if these bytes are not text in a supported encoding."""
    if is_another_file_type(data, findings):
        return None
    encoding = _encoding(data)
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        text = _decode_chinese(error.object) if encoding == "utf-8-sig" else None
        if text is None:
            line = 1 + _line_breaks(error.object[: error.start].decode(error.encoding, "replace"))
            found = f"bytes {error.object[error.start : error.start + 8].hex(' ')}"
            findings.fault(Place(line), "", "this is not text in UTF-8, UTF-16 or GB18030", found, _SAVE_AS_HINT)
        return text


def _encoding(data: bytes) -> str:
    """The encoding to try first. The text starts after the byte order mark, if there is one."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    # A header starts with ASCII letters: in UTF-16, every other byte of them is zero.
    zeros = [byte == 0 for byte in data[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    return "utf-16-be" if zeros == [True, False, True, False] else "utf-8-sig"


def _decode_chinese(data: bytes) -> str | None:
    """The bytes decoded as GB18030; None if the result is probably not Chinese.

    GB18030 decodes nearly any pair of bytes, so "Zoë" in a Western encoding would become random Chinese characters.
    Nearly all that people write lies in GB2312, its oldest part; random characters do not.
    """
    try:
        text = data.decode("gb18030")
    except UnicodeDecodeError:
        return None
    non_ascii = "".join(character for character in text if not character.isascii())
    common = non_ascii.encode("gb2312", "ignore").decode("gb2312")
    return text if 2 * len(common) > len(non_ascii) else None


_ARCHIVE: Final = b"PK\x03\x04"
_OLD_WORKBOOK: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_WORKBOOK_PARTS: Final = (b"[Content_Types].xml", b"xl/workbook", b"opendocument.spreadsheet", b"Index/Document.iwa")
_EXPORT_HINT: Final = (
    "In Excel choose “File”, “Save As” and the type “CSV UTF-8 (Comma delimited)”; elsewhere export as CSV in UTF-8"
)
_MANIFEST_HINT: Final = "A manifest is a table, CSV or JSON Lines, that names your files and says what to do with each"
_OTHER_FILE_TYPES: Final = tuple(
    (kind, re.compile(pattern, re.DOTALL))
    for kind, pattern in (
        ("a video or a sound", rb"\0...(?:ftyp|moov|mdat|wide|free|skip)|\x1a\x45\xdf\xa3|RIFF....AVI "),
        ("a sound", rb"ID3[\x02-\x04]|RIFF....WAVE|\xff[\xf1\xf3\xf9\xfb]"),
        ("a picture", rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP"),
        ("a PDF document", rb"%PDF-"),
        ("an archive", rb"PK\x03\x04|PK\x05\x06|\x1f\x8b\x08|Rar!\x1a|7z\xbc\xaf"),
    )
)


def is_another_file_type(data: bytes, findings: Findings) -> bool:
    """Whether these bytes are a file of another well-known type; if so, records a fault that names it."""
    if data.startswith(_OLD_WORKBOOK) or (data.startswith(_ARCHIVE) and any(name in data for name in _WORKBOOK_PARTS)):
        findings.fault(Place(1), "", "this is a workbook, not a CSV file", hint=_EXPORT_HINT)
        return True
    found = next((kind for kind, pattern in _OTHER_FILE_TYPES if pattern.match(data)), None)
    if found:
        findings.fault(Place(1), "", "this is not a manifest", found, _MANIFEST_HINT)
    return found is not None


_FORMATS: Final = {",": "comma", ";": "semicolon", "\t": "tab"}
_SEP_LINE: Final = re.compile(r'"?sep=(.)"?[,;\s]*', re.IGNORECASE)
_CSV_HINT: Final = "The first line names the columns, such as file,instruction"
_END_LINE: Final = "the end"
_Cells = tuple[int, list[str]]
"""A record before its columns are known: the line on which it starts, and its cells."""


class _Broken(Exception):
    """Nothing after this line can be read."""

    def __init__(self, line: int, message: str, value: str, hint: str) -> None:
        super().__init__(message)
        self.finding = (Place(line), "", message, value, hint)


def read_delimited(text: str, findings: Findings) -> Table | None:
    """Read a CSV text into a table; None, with a fault, if its header or its format is wrong."""
    lines = list(io.StringIO(text, newline=""))  # split at LF, CR and CRLF
    try:
        delimiter, header_index = _delimiter(lines)
        rows = list(_non_empty(lines[header_index:], delimiter, header_index + 1))
    except _Broken as broken:
        findings.fault(*broken.finding)
        return None
    header = Header(findings, _CSV_HINT)
    keys = _keys(*rows[0], header, findings) if rows else []
    if keys is None or not header.finish():
        return None
    numbered = enumerate(rows[1:], 1)
    records = [_csv_record(Place(line, number), cells, keys, findings) for number, (line, cells) in numbered]
    return Table(tuple(header.columns.values()), [record for record in records if record], _FORMATS[delimiter])


def _delimiter(lines: Sequence[str]) -> tuple[str, int]:
    """The delimiter, and the number of lines before the header: one if Excel's `sep=` line is there."""
    declared = _SEP_LINE.fullmatch(lines[0]) if lines else None
    if declared is None:
        return max(_FORMATS, key=lambda delimiter: _score(lines, delimiter)), 0
    if declared[1] not in _FORMATS:
        raise _Broken(1, "this delimiter is not supported", declared[1], "Use a comma, a semicolon or a tab")
    return declared[1], 1


def _score(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """How well a delimiter splits the header: by the number of known columns, then by the number of cells."""
    try:
        _, header = next(_non_empty(lines, delimiter, 1), (1, []))
    except _Broken:
        return 0, 0
    return sum(1 for cell in header if column_of(cell)), len(header)


def _non_empty(lines: Sequence[str], delimiter: str, start: int) -> Iterator[_Cells]:
    """The records that are not empty, with the line on which each starts; `start` is the first line's number."""
    # Files written by hand often have blanks before a quote; blanks around a cell are dropped anyway.
    # The extra line at the end shows whether a quote is still open: it is then part of a cell.
    reader = csv.reader(itertools.chain(lines, [_END_LINE]), delimiter=delimiter, skipinitialspace=True)
    lines_read = 0
    try:
        for cells in reader:
            if reader.line_num > len(lines):
                return _raise_for_open_quote(cells, start + lines_read, reader.line_num - lines_read)
            if any(stripped := [cell.strip() for cell in cells]):
                yield start + lines_read, stripped
            lines_read = reader.line_num
    except csv.Error:  # the reader's only error here: a cell over the size limit
        hint = f"At most {csv.field_size_limit():,} characters; usually a quote was opened here and never closed"
        raise _Broken(start + lines_read, "a cell is too long", lines[lines_read].strip(), hint) from None


def _raise_for_open_quote(cells: list[str], line: int, height: int) -> None:
    if height > 1:
        opening_line = line + sum(_line_breaks(cell) for cell in cells[:-1])
        value, hint = cells[-1].removesuffix(_END_LINE), "Close it, or double it if it is part of the text"
        raise _Broken(opening_line, "a quote is opened here and never closed", value, hint)


def _keys(line: int, names: list[str], header: Header, findings: Findings) -> list[str] | None:
    """The key of each column, empty for one without a name; None, with faults, if two have the same name."""
    keys: list[str] = []
    has_duplicates = False
    for name in names:
        key = name and header.add(name.strip("\ufeff"), line)
        if key and key in keys:
            findings.fault(Place(line), name, "two columns have the same name", hint="Rename or remove one of them")
            has_duplicates = True
        keys.append(key)
    return None if has_duplicates else keys


def _csv_record(at: Place, cells: list[str], keys: list[str], findings: Findings) -> Record | None:
    surplus = [cell for key, cell in itertools.zip_longest(keys, cells, fillvalue="") if cell and not key]
    if surplus:
        hint = "Put quotes around a cell that holds the delimiter, or give the column a name"
        findings.fault(at, "", "there are more cells than column names", surplus[0], hint)
        return None
    by_key = {key: cell for key, cell in zip(keys, cells, strict=False) if cell}
    references = split_references(by_key.pop("references", ""))
    return Record(line=at.line, number=at.number, cells=by_key, references=references)


_JSONL_HINT: Final = 'Each line has keys such as {"file": "beach.mp4", "instruction": "Cut the pauses"}'
_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")


def looks_like_json(text: str, name: str) -> bool:
    """Whether a manifest is JSON Lines: by its file name, or because it starts with an object or a list."""
    return name.lower().endswith(_SUFFIXES) or text.lstrip()[:1] in ("{", "[")


def read_jsonlines(text: str, findings: Findings) -> Table | None:
    """Read a JSON Lines text into a table; None, with faults, if no line is valid or the columns are wrong."""
    header = Header(findings, _JSONL_HINT, one_line=False)
    records: list[Record] = []
    number = 0
    for line, source in enumerate(io.StringIO(text, newline=""), 1):
        if stripped := source.strip():
            number += 1
            record = _jsonl_record(Place(line, number), stripped, header, findings)
            records += [record] if record else []
    # The columns of unreadable lines are unknown, so don't report missing columns in addition.
    all_read = not number or len(records) == number
    if all_read and not header.finish():
        return None
    return Table(tuple(header.columns.values()), records, "json") if records else None


def _jsonl_record(at: Place, source: str, header: Header, findings: Findings) -> Record | None:
    try:
        pairs = json.loads(source, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        hint = "Each line must be one complete object, without a list around them"
        # The position of the error, without Python's reason; deep nesting and huge numbers have no position.
        if isinstance(error, json.JSONDecodeError):
            hint += f"; this one is invalid from character {error.colno} on"
        findings.fault(at, "", "this line is not JSON", source, hint)
        return None
    if isinstance(pairs, _Pairs):
        return _json_cells(at, pairs, header, findings)
    findings.fault(at, "", "this line is not a JSON object", source, 'Such as {"file": "beach.mp4"}')
    return None


class _Pairs(list[tuple[str, Any]]):
    """A JSON object's pairs as written, so that a duplicate key can be detected."""


def _json_cells(at: Place, pairs: _Pairs, header: Header, findings: Findings) -> Record | None:
    cells: dict[str, str] = {}
    references: list[str] = []
    seen: set[str] = set()
    keys = [header.add(name.strip(), at.line) for name, _ in pairs]
    faults_before = len(findings.faults)  # a fault in a column's name is not a fault of this row
    for key, (name, value) in zip(keys, pairs, strict=True):
        if key in seen:
            findings.fault(at, name, "two columns have the same name", hint="Rename or remove one of them")
        seen.add(key)
        if key == "references":
            references = _references(at, value, findings)
        elif text := _text(at, key, value, findings):
            cells[key] = text
    if len(findings.faults) > faults_before:
        return None
    return Record(line=at.line, number=at.number, cells=cells, references=references)


def _text(at: Place, key: str, value: Any, findings: Findings) -> str:
    """A value as the text of a cell. A user's own column takes any value; the others take text and integers."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value.strip()
    if column_of(key) and (isinstance(value, bool) or not isinstance(value, int)):
        hint = "Write text in quotes"
        findings.fault(at, key, "this value is neither text nor a whole number", _dump(value), hint)
        return ""
    return _dump(value)


def _references(at: Place, value: Any, findings: Findings) -> list[str]:
    if isinstance(value, list) and not isinstance(value, _Pairs) and all(isinstance(name, str) for name in value):
        return [stripped for name in value if (stripped := name.strip())]
    if value is None or isinstance(value, str):
        return split_references(value or "")
    hint = 'Such as ["face.jpg", "logo.png"]'
    findings.fault(at, "references", "references must be a string or a list of strings", _dump(value), hint)
    return []


def _dump(value: Any) -> str:
    return json.dumps(_to_objects(value), ensure_ascii=False)


def _to_objects(value: Any) -> Any:
    """The value, with its pairs converted back to objects."""
    if isinstance(value, _Pairs):
        return {key: _to_objects(inner) for key, inner in value}
    return [_to_objects(inner) for inner in value] if isinstance(value, list) else value


def _line_breaks(text: str) -> int:
    """The number of line breaks in a text: LF, CR or CRLF."""
    return text.count("\n") + text.count("\r") - text.count("\r\n")
