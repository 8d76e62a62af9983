"""What can only be told of rows together: names that must be unique, and what the rows of a session give each other."""

from collections.abc import Mapping
from dataclasses import dataclass

from reelq.job import Route
from reelq.manifest import output
from reelq.manifest.findings import Findings, Place
from reelq.manifest.row import Row

_READS_A_SESSION = frozenset({Route.EXPORT, Route.STATUS})


@dataclass(slots=True)
class _Session:
    """What the rows so far have put into a session, and the skill they use."""

    skill: str
    filled: bool = False


class Together:
    """Goes along the rows in order, and holds each against those before it."""

    def __init__(self, findings: Findings) -> None:
        self._findings = findings
        self._ids: dict[str, int] = {}
        self._outputs: dict[str, int] = {}
        self._folders: dict[str, int] = {}
        self._sessions: dict[str, _Session] = {}

    def add(self, row: Row) -> None:
        """Hold one more row against those before it."""
        at = Place(row.line, row.number)
        self._unique_id(at, row)
        if row.output:
            self._unique_output(at, row)
        self._session(at, row)

    def _unique_id(self, at: Place, row: Row) -> None:
        line = self._ids.setdefault(row.id, row.line)
        if line != row.line:
            hint = f"Line {line} has it; a row without an id has its number"
            self._findings.fault(at, "id", "two rows have this id", row.id, hint)

    def _unique_output(self, at: Place, row: Row) -> None:
        name = output.folded(row.output)
        parts = name.split("/")
        folders = ["/".join(parts[:depth]) for depth in range(1, len(parts))]
        line = self._outputs.setdefault(name, row.line)
        if line != row.line:
            hint = f"Line {line} writes it too; case makes no difference"
            self._findings.fault(at, "output", "two rows would write the same file", row.output, hint)
        clash = _first(self._folders, [name]) or _first(self._outputs, folders)
        if clash:
            hint = f"Line {clash} has a file where the other has a folder"
            self._findings.fault(at, "output", "this output is a file here and a folder there", row.output, hint)
        for folder in folders:
            self._folders.setdefault(folder, row.line)

    def _session(self, at: Place, row: Row) -> None:
        """A session's rows see what earlier ones left; a row without a session has only its own file."""
        session = self._sessions.get(row.session) if row.session else None
        if session is None:
            session = _Session(row.skill)
        if row.session:
            self._sessions[row.session] = session
        gives = bool(row.file or row.references)
        if row.route in _READS_A_SESSION and not (gives or session.filled):
            hint = "Give the row a file, or the session of an earlier row"
            self._findings.fault(at, "", "there is nothing to export or to show", row.instruction, hint)
        if row.skill != session.skill:
            hint = f"A session is opened with one skill; its first row says {session.skill}"
            self._findings.warn(at, "skill", "the rows of this session have different skills", row.skill, hint)
        session.filled |= gives or row.route is Route.EDIT


def _first(lines: Mapping[str, int], names: list[str]) -> int | None:
    return next((lines[name] for name in names if name in lines), None)
