"""Checks a manifest: reads its bytes into rows, applies the rules across rows, and adds advice."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from reelq.errors import Fault, ManifestError
from reelq.job import Route
from reelq.manifest import output
from reelq.manifest.columns import Row, Table, column_of
from reelq.manifest.findings import Findings, Place, escape_surrogates
from reelq.manifest.inputs import Facts, Files, LocalFiles, is_url
from reelq.manifest.readers import decode, looks_like_json, read_delimited, read_jsonlines
from reelq.manifest.rows import RowReader
from reelq.media import Kind, extension_of, kind_of
from reelq.skills import Skill, Skills

DEFAULT_SKILL: Final = "video-models"
MAX_BYTES: Final = 100_000_000
"""The largest manifest: several hundred thousand rows. A larger file is a mistake, not a manifest."""
_READS_A_SESSION: Final = frozenset({Route.EXPORT, Route.STATUS})
_LONG_INSTRUCTION: Final = 2000
_VAGUE: Final = re.compile(
    r"(please |pls |can you |just )*"
    r"((make|do|get) (it|this|that|(the|this|my) (video|clip|footage))"
    r"( look| be| a bit| a little| much| more| really)*"
    r" (better|good|great|nice|nicer|cool|cooler|awesome|amazing|pretty|beautiful|perfect|professional|pro|pop)"
    r"|(improve|enhance|fix|edit|optimi[sz]e|beautify|polish|process|upgrade)"
    r"( it| this| that| (the|this|my) (video|clip|footage))?( up)?|do your (best|magic|thing)|surprise me)"
    r"( please| pls)?"
)
_VAGUE_CHINESE: Final = re.compile(
    r"(请|帮我|麻烦|把)*(这个|这段|该|我的)?(视频|影片|片子|它)?(给我)?"
    r"(优化|美化|处理|编辑|剪辑|修改|改进|提升|修|弄|做|剪|改|变)(得|的)?(更|好看|漂亮|专业|好)*(一点|点|一些|些|一下|下)?(吧|谢谢)*"
)
_PUNCTUATION: Final = re.compile(r"[\s.,;:!?。，；：！？、~…]+")


@dataclass(slots=True)
class _Session:
    """A session after the rows so far: its skill, and whether it holds anything."""

    skill: str
    filled: bool = False


class CrossRowRules:
    """Checks each row against the rows before it."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ids: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._sessions: dict[str, _Session] = {}

    def add(self, row: Row) -> None:
        """Check one more row against those before it."""
        at = Place(row.line, row.number)
        line = self._ids.setdefault(row.id, row.line)
        if line != row.line:
            hint = f"Line {line} has the same id; a row without an id uses its row number"
            self._findings.fault(at, "id", "two rows have this id", row.id, hint)
        if row.output:
            self._unique_output(at, row)
        self._session(at, row)

    def _unique_output(self, at: Place, row: Row) -> None:
        name = output.collision_key(row.output)
        parts = name.split("/")
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        line = self._outputs.setdefault(name, row.line)
        if line != row.line:
            hint = f"Line {line} writes it too; case is ignored"
            self._findings.fault(at, "output", "two rows would write the same file", row.output, hint)
        others = [self._folders.get(name), *map(self._outputs.get, folders)]
        if clash := next(filter(None, others), None):
            message = "one row uses this output as a file, another as a folder"
            hint = f"The other row is in line {clash}; rename one of them"
            self._findings.fault(at, "output", message, row.output, hint)
        for folder in folders:
            self._folders.setdefault(folder, row.line)

    def _session(self, at: Place, row: Row) -> None:
        """Check that the row has a file, or its session has content from earlier rows; and the session's skill."""
        session = _Session(row.skill)
        if row.session:
            session = self._sessions.setdefault(row.session, session)
        has_input = bool(row.file or row.references)
        if row.route in _READS_A_SESSION and not (has_input or session.filled):
            hint = "Give the row a file, or the session of an earlier row"
            self._findings.fault(at, "", "there is nothing to export or to show", row.instruction, hint)
        if row.skill != session.skill:
            hint = f"A session uses one skill; its first row has {session.skill}"
            self._findings.warn(at, "skill", "the rows of this session have different skills", row.skill, hint)
        session.filled |= has_input or row.route is Route.EDIT


class Advice:
    """Warns about rows that are valid but probably not what the user wants."""

    def __init__(self, files: Files, skills: Mapping[str, Skill], findings: Findings) -> None:
        self._skills = skills
        self._findings = findings
        self._sessions_with_photo: set[str] = set()
        self._seconds = cache(files.seconds)

    def add(self, row: Row, facts: Facts | None) -> None:
        """Add warnings for one row; `facts` describe its file, if it has a usable one."""
        at = Place(row.line, row.number)
        self._instruction(at, row)
        skill = self._skills.get(row.skill)
        if skill is not None and row.route is Route.EDIT:
            self._photo(at, row, skill)
            if facts is not None:
                self._clip(at, row, skill, facts)

    def _instruction(self, at: Place, row: Row) -> None:
        files = row.file or ", ".join(row.references)
        if files and row.route is Route.UPLOAD and not row.session:
            hint = "Say what to do with it in the column instruction"
            self._findings.warn(at, "instruction", "this file is only uploaded", files, hint)
        if len(row.instruction) > _LONG_INSTRUCTION:
            hint = "Split it into steps, as rows of one session: each gives a result that you can check"
            self._findings.warn(at, "instruction", "this instruction is very long", row.instruction, hint)
        elif is_vague(row.instruction):
            hint = "Say what to change and how: “warmer colours, cut the pauses, white captions at the bottom”"
            self._findings.warn(at, "instruction", "this instruction is vague", row.instruction, hint)

    def _photo(self, at: Place, row: Row, skill: Skill) -> None:
        """Warn if the skill needs a photo and neither this row nor an earlier one of its session has one."""
        # A URL or an asset can be a photo, whatever its name.
        if any(kind_of(name) in {Kind.IMAGE, None} for name in row.references):
            self._sessions_with_photo.add(row.session)
        elif skill.references == "photo" and (not row.session or row.session not in self._sessions_with_photo):
            hint = "Add it to the column references"
            self._findings.warn(at, "references", "this skill needs a reference photo", skill.name, hint)

    def _clip(self, at: Place, row: Row, skill: Skill, facts: Facts) -> None:
        if kind_of(facts.name) is not Kind.VIDEO:
            return
        if skill.prefers and extension_of(facts.name) not in skill.prefers:
            hint = f"{skill.name} works best with {' '.join(skill.prefers)}"
            self._findings.warn(at, "file", "this skill works better with another type of file", row.file, hint)
        seconds = self._seconds(row.file) if skill.clip_seconds and not is_url(row.file) else None
        if seconds and skill.clip_seconds and seconds > skill.clip_seconds:
            hint = f"It is {seconds:.0f} s long; {skill.name} works best under {skill.clip_seconds} s"
            self._findings.warn(at, "file", "this clip is longer than its skill recommends", row.file, hint)


def is_vague(instruction: str) -> bool:
    """Whether an instruction asks for an improvement without saying which."""
    normalised = _PUNCTUATION.sub(" ", instruction.lower()).strip()
    if len(normalised) > 80:
        return False
    return bool(_VAGUE.fullmatch(normalised) or _VAGUE_CHINESE.fullmatch(normalised.replace(" ", "")))


@dataclass(frozen=True, slots=True)
class Checked:
    """A manifest's rows, and everything that is wrong with it."""

    rows: tuple[Row, ...]
    """The rows without faults of their own."""
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    columns: tuple[str, ...] = ()
    """The columns as the user named them, in order."""
    form: str = ""
    """The format: comma, semicolon, tab or json; empty if unknown."""

    def rows_or_raise(self) -> tuple[Row, ...]:
        """The rows; raises ManifestError with all the faults if there are any."""
        if self.faults:
            raise ManifestError(self.faults, self.warnings)
        return self.rows


def check_file(path: Path, *, skills: Skills, default_skill: str = DEFAULT_SKILL) -> Checked:
    """Check a manifest on disk; file names are relative to its folder. Raises ManifestError if it can't be read."""
    data = _read_bytes(path)
    return check(data, name=path.name, files=LocalFiles(path.parent), skills=skills, default_skill=default_skill)


def check(
    data: bytes,
    *,
    name: str,
    files: Files,
    skills: Skills,
    default_skill: str = DEFAULT_SKILL,
    refuse_url: Callable[[str], str] = lambda _: "",
) -> Checked:
    """Check a manifest's bytes. Whatever they hold, a problem is a fault and not an exception.

    `refuse_url` returns why a URL may not be passed to the service, or an empty text.
    """
    findings = Findings()
    table = _read_table(data, name, findings)
    if table is None:
        return Checked((), tuple(sorted(findings.faults)), tuple(sorted(findings.warnings)))
    custom_columns = tuple(column for column in table.columns if not column_of(column))
    reader = RowReader(files, skills, default_skill, custom_columns, findings, refuse_url)
    cross_row_rules, advice = CrossRowRules(findings), Advice(files, skills, findings)
    rows = []
    for record in table.records:
        row = reader.read(record)
        cross_row_rules.add(row)
        facts = reader.look(row.file) if row.file else None
        advice.add(row, facts if facts and not facts.problem else None)
        rows.append(row)
    faulty = {fault.row for fault in findings.faults}
    valid = tuple(row for row in rows if row.number not in faulty)
    faults, warnings = tuple(sorted(findings.faults)), tuple(sorted(findings.warnings))
    return Checked(valid, faults, warnings, table.columns, table.form)


def _read_table(data: bytes, name: str, findings: Findings) -> Table | None:
    text = decode(data, findings)
    if text is None:
        return None
    table = read_jsonlines(text, findings) if looks_like_json(text, name) else read_delimited(text, findings)
    if table is not None and not table.records and not findings.faults:
        findings.fault(Place(1), "", "the manifest has no rows", hint="Add one line per row below the column names")
    return table


def _read_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Limit the read instead of asking for the size: a device or a pipe has none, and may never end.
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        advice = "Check the path: a relative path starts at the current folder."
        raise _unreadable(path, "there is no such manifest", advice) from None
    except IsADirectoryError:
        raise _unreadable(path, "the manifest is a folder", "Name the CSV or JSON Lines file in that folder.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else ""
        raise _unreadable(path, "the manifest can't be read", "Name a file that you may read.", reason or "") from None
    if len(data) > MAX_BYTES:
        raise _unreadable(path, "the manifest is over 100 MB", "Split it into several; each becomes its own batch.")
    return data


def _unreadable(path: Path, message: str, advice: str, reason: str = "") -> ManifestError:
    error = ManifestError([Fault(0, "", message, escape_surrogates(str(path)), reason)])
    error.advice = advice  # the default advice is to fix lines, and there are none
    return error
