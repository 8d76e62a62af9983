"""A record into a row: every cell read, and every fault in it told."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from reelq import media
from reelq.intent import language, route
from reelq.job import Route
from reelq.manifest import output
from reelq.manifest.columns import COLUMNS, nearest
from reelq.manifest.files import Facts, Files, is_url, url_name, url_problem
from reelq.manifest.findings import Findings, did_you_mean
from reelq.manifest.table import Record, control_character
from reelq.skills import Skills

_LINE_BREAK_OR_TAB: Final = re.compile(r"[\r\n\t]")
_SEVERAL_LINES_TAKEN: Final = {column: column == "instruction" for column in COLUMNS}
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,9}")
_LANGUAGE: Final = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")
_TYPES: Final = "Accepted: " + " ".join(extension for kind in media.ACCEPTED.values() for extension in kind)
_NO_RESULT: Final = frozenset({Route.UPLOAD, Route.STATUS, Route.CREDITS})


@dataclass(frozen=True, slots=True)
class Row:
    """One thing to do, as the manifest asks for it."""

    number: int
    """Its place among the rows, from 1."""
    line: int
    """The line of the manifest on which it begins."""
    id: str
    file: str
    instruction: str
    references: tuple[str, ...]
    skill: str
    language: str
    session: str
    priority: int
    output: str
    """The result's name, below the output folder; empty where the row brings no video home."""
    route: Route
    extra: Mapping[str, str]
    """The user's own columns, in the manifest's order."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A file as it was judged when it was first named."""

    facts: Facts
    problem: str
    hint: str


class RowReader:
    """Reads the records of one manifest, and remembers what it found out about files and instructions."""

    def __init__(
        self,
        files: Files,
        skills: Skills,
        default_skill: str,
        own: tuple[str, ...],
        findings: Findings,
        refuse_url: Callable[[str], str] = lambda _: "",
    ) -> None:
        self._files = files
        self._skills = skills
        self._default_skill = default_skill
        self._own = own
        self._findings = findings
        self._refuse_url = refuse_url
        self._wrong_default_told = False
        self.look = cache(self._look)
        """A name's file, judged once however many rows name it."""
        self._route = cache(route)
        self._spoken = cache(language)

    def read(self, record: Record) -> Row:
        """The row; where a cell is wrong a fault is noted, and something harmless stands in for it."""
        self._refuse_control_characters(record)
        cells = record.cells
        file, instruction = cells.get("file", ""), cells.get("instruction", "")
        self._check_files(record)
        has_file = bool(file or record.references)
        asked = self._route(instruction, has_file=has_file)
        if asked is Route.UPLOAD and not has_file:
            hint = "Give the row a file, or an instruction that needs none"
            self._findings.fault(record, "", "there is nothing to do in this row", hint=hint)
        return Row(
            number=record.number,
            line=record.line,
            id=cells.get("id") or str(record.number),
            file=file,
            instruction=instruction,
            references=tuple(record.references),
            skill=self._skill(record),
            language=self._language(record) or self._spoken(instruction),
            session=cells.get("session", ""),
            priority=self._priority(record),
            output="" if asked in _NO_RESULT else self._output(record),
            route=asked,
            extra={column: cells.get(column, "") for column in self._own},
        )

    def _refuse_control_characters(self, record: Record) -> None:
        for column, text in self._texts(record):
            if found := control_character(text):
                message = "there is a control character in this cell"
                self._findings.fault(record, column, message, text, f"Remove {found}")
            elif not _SEVERAL_LINES_TAKEN.get(column, True) and _LINE_BREAK_OR_TAB.search(text):
                self._findings.fault(record, column, "this cell takes one line", text, "Remove the line break or tab")

    @staticmethod
    def _texts(record: Record) -> Iterator[tuple[str, str]]:
        yield from record.cells.items()
        for name in record.references:
            yield "references", name

    def _check_files(self, record: Record) -> None:
        if file := record.cells.get("file"):
            self._check_file(record, "file", file)
        for name in record.references:
            self._check_file(record, "references", name)

    def _check_file(self, record: Record, column: str, name: str) -> None:
        if control_character(name):
            return  # told already; that there is no such file would be an echo
        seen = self.look(name)
        if seen.problem:
            self._findings.fault(record, column, seen.problem, name, seen.hint)

    def _look(self, name: str) -> Seen:
        if is_url(name):
            wrong = url_problem(name) or self._refuse_url(name)
            problem = "this address can't be fetched" if wrong else ""
            return Seen(Facts("" if wrong else url_name(name)), problem, wrong)
        facts = self._files.look(name)
        return Seen(facts, *_unfit(facts))

    def _skill(self, record: Record) -> str:
        given = record.cells.get("skill", "")
        name = given or self._default_skill
        broken = self._skills.broken.get(name)
        if (name in self._skills and not broken) or (not given and self._wrong_default_told):
            return name
        self._wrong_default_told |= not given
        if broken:
            self._findings.fault(record, "skill", "this skill's profile is broken", name, broken)
            return name
        hint = did_you_mean(nearest(name, list(self._skills))) or f"There are: {', '.join(self._skills)}"
        self._findings.fault(record, "skill", "no skill has this name", name, hint)
        return name

    def _language(self, record: Record) -> str:
        given = record.cells.get("language", "")
        code = _LANGUAGE.fullmatch(given)
        if code:
            return "-".join([code[1].lower(), *map(_subtag, re.split("[-_]", code[2])[1:])])
        if given:
            self._findings.fault(record, "language", "this is no language code", given, "Such as en, zh-CN or ja")
        return ""

    def _priority(self, record: Record) -> int:
        given = record.cells.get("priority", "0")
        if _WHOLE.fullmatch(given):
            return int(given)
        hint = "Such as 5 or -1; higher comes first"
        self._findings.fault(record, "priority", "this is no whole number of at most nine digits", given, hint)
        return 0

    def _output(self, record: Record) -> str:
        given = record.cells.get("output")
        if given is None:
            file = record.cells.get("file", "")
            stem = self.look(file).facts.name.rpartition("/")[2].rpartition("\\")[2] if file else ""
            return output.default(record.number, stem.rpartition(".")[0] or stem or record.cells["instruction"])
        message, hint = output.problem(given)
        if message:
            self._findings.fault(record, "output", message, given, hint)
        return "" if message else output.tidy(given)


def _unfit(facts: Facts) -> tuple[str, str]:
    """Why the service would not take a file, and what to do; two empty texts where it takes it."""
    if facts.problem:
        return facts.problem, facts.hint
    if media.kind_of(facts.name) is None:
        return "the service does not accept this type of file", _TYPES
    if facts.size == 0:
        return "this file is empty", "Copy it again, or leave the row out"
    if facts.size is not None and facts.size > media.MAX_BYTES:
        return "this file is over 500 MB", "Compress or trim it"
    return "", ""


def _subtag(subtag: str) -> str:
    """A language code's further part in its usual case: zh-CN, zh-Hans."""
    return subtag.upper() if len(subtag) == 2 else subtag.title() if len(subtag) == 4 else subtag.lower()
