"""JSON Lines into records: one object a line, its keys the columns."""

import io
import json
from typing import Any, Final

from reelq.manifest.columns import column_of
from reelq.manifest.findings import Findings, Place
from reelq.manifest.table import Header, Record, Table, split_references

_EXPLAIN: Final = 'A line has keys such as {"file": "beach.mp4", "instruction": "Cut the pauses"}'
_SUFFIXES: Final = (".jsonl", ".ndjson", ".json")


def looks_like_json(text: str, name: str) -> bool:
    """Whether a manifest is JSON Lines: by its name, or as it begins with an object or a list."""
    return name.lower().endswith(_SUFFIXES) or text.lstrip()[:1] in ("{", "[")


def read_jsonlines(text: str, findings: Findings) -> Table | None:
    """The table that a JSON Lines text holds; None, and faults, where no line of it can be read."""
    header = Header(findings, _EXPLAIN, one_line=False)
    records: list[Record] = []
    number = 0
    for line, source in enumerate(io.StringIO(text, newline=""), 1):
        if stripped := source.strip():
            number += 1
            record = _record(Place(line, number), stripped, header, findings)
            records += [record] if record else []
    # Where lines could not be read their columns are not known: another fault about them would be an echo.
    sound = not number or len(records) == number
    if sound and not header.finish():
        return None
    return Table(tuple(header.columns.values()), records, "json") if records else None


def _record(at: Place, source: str, header: Header, findings: Findings) -> Record | None:
    try:
        pairs = json.loads(source, object_pairs_hook=_Pairs)
    except (ValueError, RecursionError) as error:
        hint = "Each line holds one whole object, without a list around them"
        # Where it breaks off, without Python's words for why; a nesting or a number without an end breaks off nowhere.
        if isinstance(error, json.JSONDecodeError):
            hint += f"; this one makes no sense from character {error.colno} on"
        findings.fault(at, "", "this line is not JSON", source, hint)
        return None
    if not isinstance(pairs, _Pairs):
        findings.fault(at, "", "this line is not a JSON object", source, 'Such as {"file": "beach.mp4"}')
        return None
    return _cells(at, pairs, header, findings)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object's pairs as written, so that a key given twice can be told."""


def _cells(at: Place, pairs: _Pairs, header: Header, findings: Findings) -> Record | None:
    cells: dict[str, str] = {}
    references: list[str] = []
    seen: set[str] = set()
    keys = [header.add(name.strip(), at.line) for name, _ in pairs]
    before = len(findings.faults)  # a fault of a column's name is none of the row
    for key, (name, value) in zip(keys, pairs, strict=True):
        if key in seen:
            findings.fault(at, name, "two columns have the same name", hint="Rename or remove one of them")
        seen.add(key)
        if key == "references":
            references = _references(at, value, findings)
        elif text := _text(at, key, value, findings):
            cells[key] = text
    if len(findings.faults) > before:
        return None
    return Record(line=at.line, number=at.number, cells=cells, references=references)


def _text(at: Place, key: str, value: Any, findings: Findings) -> str:
    """A value as a cell's text. A column of the user's own takes anything; the others text and whole numbers."""
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
    findings.fault(at, "references", "references are neither text nor a list of texts", _dump(value), hint)
    return []


def _dump(value: Any) -> str:
    return json.dumps(_plain(value), ensure_ascii=False)


def _plain(value: Any) -> Any:
    """A value with its pairs made objects again."""
    if isinstance(value, _Pairs):
        return {key: _plain(inner) for key, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value
