"""The result manifest: what was asked, row by row, and what came of it, as a spreadsheet or a program reads it."""

import csv
import errno
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TextIO

from reelq.errors import CannotWrite
from reelq.job import Cause, Status
from reelq.manifest import RESULTS
from reelq.manifest.columns import column_of
from reelq.store.outcomes import Outcome, outcomes, written
from reelq.store.session import Store

COLUMNS: Final = (
    "status", "output", "failed_stage", "error_code", "error", "advice", "credits", "seconds", "timeline", "reply",
)  # fmt: skip
"""What follows the manifest's own columns."""
_DELIMITERS: Final = MappingProxyType({"comma": ",", "semicolon": ";", "tab": "\t"})
_TOLD_BY_OTHERS: Final = frozenset({"error", "timeline", "reply"})
_FORMULA: Final = ("=", "+", "-", "@")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LONGEST_CELL: Final = 32_000
"""A spreadsheet's cell holds 32,767 characters, and what follows would push the rest of the row out of place."""
_WAITS_FOR: Final = MappingProxyType(
    {
        Cause.CREDITS: "waits for credits",
        Cause.PLAN: "waits for a plan that allows it",
        Cause.TOKEN: "waits for a valid token",
        Cause.PAUSED: "waits until it is resumed",
        Cause.SESSION: "waits for the row before it in its session",
        Cause.TWIN: "waits for the same row of another batch",
    }
)


class Form(StrEnum):
    """How results are written."""

    CSV = "csv"
    JSONL = "jsonl"


def form_of(path: Path) -> Form:
    """The form that a file's ending asks for."""
    return Form.JSONL if path.suffix.lower() in {".jsonl", ".ndjson", ".json"} else Form.CSV


def results_of_run(store: Store, batch_id: str) -> Path:
    """Write `results.csv` beside the batch's videos; where it is."""
    with store.read() as session:
        folder = Path(written(session, batch_id).out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot(folder, error) from error
    return write_results(store, batch_id, folder / RESULTS)


def write_results(store: Store, batch_id: str, path: Path, form: Form | None = None) -> Path:
    """Write them to a file, which is whole or not there at all."""
    told = form or form_of(path)
    with whole_file(path, told) as file:
        put_results(store, batch_id, file, told)
    return path


@contextmanager
def whole_file(path: Path, form: Form) -> Iterator[TextIO]:
    """A file for results that is there when all of it is written, and not before."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    # Spreadsheets take a file without a mark for the country's old encoding: Chinese would come out as garbage.
    encoding = "utf-8" if form is Form.JSONL else "utf-8-sig"
    try:
        with part.open("w", encoding=encoding, newline="") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise _cannot(path, error) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def put_results(store: Store, batch_id: str, file: TextIO, form: Form) -> None:
    """Write them to an open file, row by row: how many there are does not matter."""
    file.writelines(lines_of_results(store, batch_id, form))


def lines_of_results(store: Store, batch_id: str, form: Form) -> Iterator[str]:
    """The same, for whoever sends them on: line by line, as they are read."""
    with store.read() as session:
        batch = written(session, batch_id)
    heads = _heads(batch.columns)
    named = any(column_of(column) == "output" for column in batch.columns)
    rows = ({**_asked(one, heads), **_came_of_it(one, named=named)} for one in outcomes(store, batch_id))
    if form is Form.JSONL:
        yield from (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    line = _Line()
    table = csv.writer(line, delimiter=_DELIMITERS.get(batch.form, ","), lineterminator="\n")
    for cells in chain([[*heads, *COLUMNS]], map(_cells, rows)):
        table.writerow(cells)
        yield line.written


class _Line:
    """What a table was last written to: one line of it."""

    written = ""

    def write(self, text: str) -> None:
        """Keep the line."""
        self.written = text


def _cannot(path: Path, error: OSError) -> CannotWrite:
    missing = not path.parent.is_dir()
    told = CannotWrite(f"{path}: there is no folder {path.parent}" if missing else f"{path}: {error.strerror or error}")
    full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    told.advice = (
        "Make room there." if full else "Name a folder that is there, and a file that no other program holds open."
    )
    return told


def _heads(columns: Sequence[str]) -> dict[str, str]:
    """How the manifest's columns are headed here, and the user's name of each.

    A manifest that has all of ours is an earlier result, and what it said is told anew. Else a column of the user's
    that is called as one of ours keeps its cells, under a name that tells whose it is. `output` is one and the same.
    """
    again = set(COLUMNS) <= set(columns)
    heads = {}
    for column in columns:
        if column_of(column) == "output" or (again and column in COLUMNS):
            continue
        heads[f"{column} (manifest)" if column in COLUMNS else column] = column
    return heads


def _asked(one: Outcome, heads: Mapping[str, str]) -> dict[str, Any]:
    """The manifest's cells. Those left empty in it are handed back filled in: as what they were taken for."""
    known: dict[str, Any] = {
        "file": one.file,
        "instruction": one.instruction,
        "id": one.name,
        "references": ";".join(one.references),
        "skill": one.skill,
        "language": one.language,
        "session": one.session,
        "priority": one.priority,
    }
    return {head: known.get(column_of(name) or "", one.extra.get(name, "")) for head, name in heads.items()}


def _came_of_it(one: Outcome, *, named: bool) -> dict[str, Any]:
    failed, waits = one.status is Status.FAILED, _WAITS_FOR[one.cause] if one.cause else ""
    ends = (one.started_at, one.finished_at)
    return {
        "status": str(one.status),
        # Of a row without a video, the name that the user gave: it stands when these rows are run again.
        "output": one.result_path if one.status is Status.SUCCEEDED else one.output if named else "",
        "failed_stage": str(one.stage) if failed else "",
        "error_code": one.error_code or str(one.cause or ""),
        "error": one.error or waits,
        "advice": one.advice,
        "credits": one.credits,
        "seconds": round((ends[1] - ends[0]).total_seconds(), 1) if ends[0] and ends[1] else "",
        "timeline": one.timeline,
        "reply": one.reply,
    }


def _cells(row: Mapping[str, Any]) -> Iterator[Any]:
    for column, value in row.items():
        yield _safe(value, told_by_others=column in _TOLD_BY_OTHERS) if isinstance(value, str) else value


def _safe(text: str, *, told_by_others: bool) -> str:
    """A cell that opens without harm, and is read again by whoever reads manifests.

    Of what the service and its agent say, nothing may begin as a formula: a spreadsheet would work it out, and could be
    made to call an address with the neighbouring cells in it. The apostrophe makes it text. The user's own cells are
    handed back as they were: they came out of the user's own spreadsheet, and go in again when the rows are run again.
    """
    clean = _CONTROLS.sub("\ufffd", text)
    if told_by_others and clean.lstrip().startswith(_FORMULA):
        clean = f"'{clean}"
    return clean if len(clean) <= _LONGEST_CELL else clean[: _LONGEST_CELL - 1] + "…"
