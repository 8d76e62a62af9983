"""A manifest's bytes into rows, with every fault told at once: line, column, value, and how to mend it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reelq.errors import Fault, ManifestError
from reelq.manifest.advice import Advice
from reelq.manifest.columns import CHINESE, COLUMNS, column_of
from reelq.manifest.decoding import decode
from reelq.manifest.delimited import read_delimited
from reelq.manifest.files import Facts, Files, LocalFiles
from reelq.manifest.findings import Findings, Place, spelt
from reelq.manifest.jsonlines import looks_like_json, read_jsonlines
from reelq.manifest.output import RESULTS
from reelq.manifest.row import Row, RowReader
from reelq.manifest.table import Table
from reelq.manifest.together import Together
from reelq.skills import Skills

__all__ = ["CHINESE", "COLUMNS", "RESULTS", "Checked", "Facts", "Files", "LocalFiles", "Row", "check", "check_file"]

DEFAULT_SKILL: Final = "video-models"
MAX_BYTES: Final = 100_000_000
"""The largest manifest: several hundred thousand rows. Whatever is larger is not a manifest but a mistake."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a manifest holds, and all that is wrong with it."""

    rows: tuple[Row, ...]
    """The rows without a fault of their own."""
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    columns: tuple[str, ...] = ()
    """The columns as the user named them, in order."""
    form: str = ""
    """How it is written: comma, semicolon, tab or json; empty where that can't be told."""

    def rows_or_raise(self) -> tuple[Row, ...]:
        """The rows of a manifest that can run; ManifestError, with all the faults, of one that can't."""
        if self.faults:
            raise ManifestError(self.faults, self.warnings)
        return self.rows


def check_file(path: Path, *, skills: Skills, default_skill: str = DEFAULT_SKILL) -> Checked:
    """Check a manifest on disk, its files being named from its folder. ManifestError where it can't be read at all."""
    data = _read(path)
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
    """Check a manifest's bytes; whatever they are, what is wrong with them is a fault and not an exception.

    `refuse_url` says why an address may not be given to the service, where it knows of a reason.
    """
    findings = Findings()
    table = _table(data, name, findings)
    if table is None:
        return _checked((), (), "", findings)
    own = tuple(column for column in table.columns if not column_of(column))
    reader = RowReader(files, skills, default_skill, own, findings, refuse_url)
    rows = _rows(table, reader, Together(findings), Advice(files, skills, findings))
    return _checked(rows, table.columns, table.form, findings)


def _table(data: bytes, name: str, findings: Findings) -> Table | None:
    text = decode(data, findings)
    if text is None:
        return None
    table = read_jsonlines(text, findings) if looks_like_json(text, name) else read_delimited(text, findings)
    if table is not None and not table.records and not findings.faults:
        findings.fault(Place(1), "", "the manifest has no rows", hint="Below the column names, a line a row")
    return table


def _rows(table: Table, reader: RowReader, together: Together, advice: Advice) -> tuple[Row, ...]:
    rows = []
    for record in table.records:
        row = reader.read(record)
        together.add(row)
        seen = reader.look(row.file) if row.file else None
        advice.add(row, seen.facts if seen and not seen.problem else None)
        rows.append(row)
    return tuple(rows)


def _checked(rows: tuple[Row, ...], columns: tuple[str, ...], form: str, findings: Findings) -> Checked:
    faulty = {fault.row for fault in findings.faults}
    sound = tuple(row for row in rows if row.number not in faulty) if faulty else rows
    return Checked(sound, tuple(sorted(findings.faults)), tuple(sorted(findings.warnings)), columns, form)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            # Not by the size that the system states: a device or a pipe has none, and may have no end either.
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        advice = "Check the path; a relative one begins at the folder in which the command runs."
        raise _unreadable(path, "there is no such manifest", advice) from None
    except IsADirectoryError:
        raise _unreadable(path, "the manifest is a folder", "Name the CSV or JSON Lines file in that folder.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else ""
        raise _unreadable(path, "the manifest can't be read", "Name a file that you may read.", reason or "") from None
    if len(data) > MAX_BYTES:
        raise _unreadable(path, "the manifest is over 100 MB", "Part it into several; each is a batch of its own.")
    return data


def _unreadable(path: Path, message: str, advice: str, reason: str = "") -> ManifestError:
    error = ManifestError([Fault(0, "", message, spelt(str(path)), reason)])
    error.advice = advice  # it has no lines to be mended
    return error
