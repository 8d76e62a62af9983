"""Turns one record into one row: validates every cell and reports every fault."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from typing import Final

from reelq import media
from reelq.intent import language, route
from reelq.job import Route
from reelq.manifest import output
from reelq.manifest.columns import COLUMNS, INTEGERS, Record, Row, control_character, nearest
from reelq.manifest.findings import Findings, did_you_mean
from reelq.manifest.inputs import Facts, Files, is_url, url_name, url_problem
from reelq.skills import Skills

_LINE_BREAK_OR_TAB: Final = re.compile(r"[\r\n\t]")
_SINGLE_LINE_COLUMNS: Final = COLUMNS.keys() - {"instruction"}
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,9}")
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")
_TYPES_HINT: Final = "Accepted: " + " ".join(extension for kind in media.ACCEPTED.values() for extension in kind)
_ROUTES_WITHOUT_RESULT: Final = frozenset({Route.UPLOAD, Route.STATUS, Route.CREDITS})


@dataclass
class RowReader:
    """Reads the records of one manifest, and caches what it learns about files and instructions."""

    files: Files
    skills: Skills
    default_skill: str
    custom_columns: tuple[str, ...]
    findings: Findings
    refuse_url: Callable[[str], str]

    def __post_init__(self) -> None:
        self._default_skill_reported = False
        self.look = cache(self._check_file)
        """Check a file, once however many rows name it."""
        self._route = cache(route)
        self._detect_language = cache(language)

    def read(self, record: Record) -> Row:
        """The row of a record; an invalid cell is recorded as a fault and replaced by a harmless value."""
        cells = record.cells
        for column, text in (*cells.items(), *(("references", name) for name in record.references)):
            self._check_text(record, column, text)
        file, instruction = cells.get("file", ""), cells.get("instruction", "")
        has_file = bool(file or record.references)
        row_route = self._route(instruction, has_file=has_file)
        if row_route is Route.UPLOAD and not has_file:
            hint = "Give the row a file, or an instruction that does not need one"
            self.findings.fault(record, "", "there is nothing to do in this row", hint=hint)
        return Row(
            number=record.number,
            line=record.line,
            id=cells.get("id") or str(record.number),
            file=file,
            instruction=instruction,
            references=tuple(record.references),
            skill=self._skill(record),
            language=self._language(record) or self._detect_language(instruction),
            session=cells.get("session", ""),
            output="" if row_route in _ROUTES_WITHOUT_RESULT else self._output(record),
            route=row_route,
            extra={column: cells.get(column, "") for column in self.custom_columns},
            **{column: self._integer(record, column) for column in INTEGERS},
        )

    def _check_text(self, record: Record, column: str, text: str) -> None:
        """Check a cell for control characters and line breaks, and the file that it names."""
        if found := control_character(text):
            # A second fault about a missing file would add nothing.
            self.findings.fault(record, column, "there is a control character in this cell", text, f"Remove {found}")
            return
        if column in _SINGLE_LINE_COLUMNS and _LINE_BREAK_OR_TAB.search(text):
            hint = "Remove the line break or tab"
            self.findings.fault(record, column, "this cell must be a single line", text, hint)
        if column in {"file", "references"} and (facts := self.look(text)).problem:
            self.findings.fault(record, column, facts.problem, text, facts.hint)

    def _check_file(self, name: str) -> Facts:
        if is_url(name):
            reason = url_problem(name) or self.refuse_url(name)
            return Facts("", problem="this address can't be fetched", hint=reason) if reason else Facts(url_name(name))
        facts = self.files.look(name)
        if facts.problem:
            return facts
        problem, hint = _unsuitable(facts)
        return replace(facts, problem=problem, hint=hint)

    def _skill(self, record: Record) -> str:
        cell = record.cells.get("skill", "")
        name = cell or self.default_skill
        broken = self.skills.broken.get(name)
        if (name in self.skills and not broken) or (not cell and self._default_skill_reported):
            return name
        self._default_skill_reported |= not cell
        if broken:
            self.findings.fault(record, "skill", "this skill's profile is broken", name, broken)
        else:
            hint = did_you_mean(nearest(name, list(self.skills))) or f"Available: {', '.join(self.skills)}"
            self.findings.fault(record, "skill", "no skill has this name", name, hint)
        return name

    def _language(self, record: Record) -> str:
        cell = record.cells.get("language", "")
        code = _LANGUAGE.fullmatch(cell)
        if code:
            return "-".join([code[1].lower(), *map(_subtag, re.split("[-_]", code[2])[1:])])
        if cell:
            self.findings.fault(record, "language", "this is not a language code", cell, "For example en, zh-CN or ja")
        return ""

    def _integer(self, record: Record, column: str) -> int:
        cell = record.cells.get(column, "0")
        if _INTEGER.fullmatch(cell):
            return int(cell)
        self.findings.fault(record, column, "this is not a whole number of at most nine digits", cell, INTEGERS[column])
        return 0

    def _output(self, record: Record) -> str:
        cell = record.cells.get("output")
        if cell is None:
            file = record.cells.get("file", "")
            stem = self.look(file).name.rpartition("/")[2].rpartition("\\")[2] if file else ""
            return output.default(record.number, stem.rpartition(".")[0] or stem or record.cells["instruction"])
        message, hint = output.problem(cell)
        if message:
            self.findings.fault(record, "output", message, cell, hint)
        return "" if message else output.normalise(cell)


def _unsuitable(facts: Facts) -> tuple[str, str]:
    """Why the service would not accept a file, and what to do; two empty texts if it accepts it."""
    if media.kind_of(facts.name) is None:
        return "the service does not accept this type of file", _TYPES_HINT
    if facts.size == 0:
        return "this file is empty", "Copy it again, or leave the row out"
    if facts.size is not None and facts.size > media.MAX_BYTES:
        return "this file is over 500 MB", "Compress or trim it"
    return "", ""


def _subtag(subtag: str) -> str:
    """A subtag of a language code in its usual case: zh-CN, zh-Hans."""
    return subtag.upper() if len(subtag) == 2 else subtag.title() if len(subtag) == 4 else subtag.lower()
