"""The result manifest: each row's request and outcome, as CSV for spreadsheets or JSON Lines for programs."""

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
from typing import Any, Final, TextIO

from reelq.errors import CannotWrite
from reelq.job import Cause, Status
from reelq.manifest.columns import COLUMNS as MANIFEST_COLUMNS
from reelq.manifest.columns import column_of
from reelq.manifest.output import RESULTS
from reelq.store.db.engine import Store
from reelq.store.db.models import Batch
from reelq.store.queries.rows import Row, all_rows

COLUMNS: Final = (
    "status", "output", "failed_stage", "error_code", "error", "advice", "credits", "seconds", "timeline", "reply",
)  # fmt: skip
"""The columns that follow the manifest's own columns."""
_DELIMITERS: Final = {"comma": ",", "semicolon": ";", "tab": "\t"}
_EXTERNAL_COLUMNS: Final = frozenset({"error", "timeline", "reply"})
_FORMULA_STARTS: Final = ("=", "+", "-", "@")
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_MAX_CELL_LENGTH: Final = 32_000
"""A spreadsheet's cell holds 32,767 characters; a longer one would push the rest of the row out of place."""
_WAITING_MESSAGES: Final = {
    Cause.CREDITS: "waits for credits",
    Cause.PLAN: "waits for a plan that allows it",
    Cause.TOKEN: "waits for a valid token",
    Cause.PAUSED: "waits until you resume it",
    Cause.SESSION: "waits for the previous row of its session",
    Cause.TWIN: "waits for the same row of another batch",
}


class Form(StrEnum):
    """The format of a result file."""

    CSV = "csv"
    JSONL = "jsonl"


def form_of(path: Path) -> Form:
    """The format for a file name's extension."""
    return Form.JSONL if path.suffix.lower() in {".jsonl", ".ndjson", ".json"} else Form.CSV


def write_beside_videos(store: Store, batch_id: str) -> Path:
    """Write `results.csv` next to the batch's videos; returns its path."""
    with store.read() as session:
        folder = Path(session.get_one(Batch, batch_id).out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write_to(folder, error) from error
    return write_results(store, batch_id, folder / RESULTS)


def write_results(store: Store, batch_id: str, path: Path) -> Path:
    """Write the results to a file, which is complete or does not exist."""
    with atomic_file(path, form_of(path)) as file:
        file.writelines(result_lines(store, batch_id, form_of(path)))
    return path


@contextmanager
def atomic_file(path: Path, form: Form) -> Iterator[TextIO]:
    """Open a file that appears under its name only once it is completely written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    # Without a byte order mark, spreadsheets assume the country's old encoding, which garbles Chinese.
    encoding = "utf-8" if form is Form.JSONL else "utf-8-sig"
    try:
        with partial.open("w", encoding=encoding, newline="") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise _cannot_write_to(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def result_lines(store: Store, batch_id: str, form: Form) -> Iterator[str]:
    """The lines of the result file. Rows are read as the lines are consumed: a batch of any size fits into memory."""
    with store.read() as session:
        batch = session.get_one(Batch, batch_id)
    headings = _headings(batch.columns)
    has_output = any(column_of(column) == "output" for column in batch.columns)
    rows = (
        _manifest_cells(row, headings) | _result_cells(row, has_output=has_output) for row in all_rows(store, batch_id)
    )
    if form is Form.JSONL:
        yield from (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        return
    table = csv.writer(_Echo(), delimiter=_DELIMITERS.get(batch.options.get("form", ""), ","), lineterminator="\n")
    yield from map(table.writerow, chain([[*headings, *COLUMNS]], map(_cells, rows)))


class _Echo:
    """A file that returns what is written to it, as does `writerow` then."""

    def write(self, text: str) -> str:
        return text


def _cannot_write_to(path: Path, error: OSError) -> CannotWrite:
    reason = (error.strerror or str(error)) if path.parent.is_dir() else f"there is no folder {path.parent}"
    is_full = error.errno in {errno.ENOSPC, errno.EDQUOT}
    advice = "Name an existing folder, and a file that no other program has open."
    return CannotWrite(f"{path}: {reason}", "Free some disk space." if is_full else advice)


def _headings(columns: Sequence[str]) -> dict[str, str]:
    """The headings of the manifest's columns in the results, each with its name in the manifest.

    A manifest with all result columns is an earlier result file: its result columns are replaced. In any other
    manifest, a column with the name of a result column is kept as `<name> (manifest)`. `output` is the same in both.
    """
    is_earlier_result = set(COLUMNS) <= set(columns)
    headings = {}
    for column in columns:
        if column_of(column) == "output" or (is_earlier_result and column in COLUMNS):
            continue
        headings[f"{column} (manifest)" if column in COLUMNS else column] = column
    return headings


def _manifest_cells(row: Row, headings: Mapping[str, str]) -> dict[str, Any]:
    """The cells of the manifest's columns. Cells that were empty contain the values that were used for them."""
    known = {column: getattr(row, "name" if column == "id" else column) for column in MANIFEST_COLUMNS}
    known["references"] = ";".join(row.references)
    columns = ((heading, name, column_of(name)) for heading, name in headings.items())
    return {heading: known[column] if column else row.extra.get(name, "") for heading, name, column in columns}


def _result_cells(row: Row, *, has_output: bool) -> dict[str, Any]:
    waiting = _WAITING_MESSAGES[row.cause] if row.cause else ""
    start, end = row.started_at, row.finished_at
    return {
        "status": str(row.status),
        # A row without a video keeps the name that the user gave, which is used when these rows are run again.
        "output": row.result_path if row.status is Status.SUCCEEDED else row.output if has_output else "",
        "failed_stage": str(row.stage) if row.status is Status.FAILED else "",
        "error_code": row.error_code or str(row.cause or ""),
        "error": row.error or waiting,
        "advice": row.advice,
        "credits": row.credits,
        "seconds": round((end - start).total_seconds(), 1) if start and end else "",
        "timeline": row.timeline,
        "reply": row.reply,
    }


def _cells(row: Mapping[str, Any]) -> Iterator[Any]:
    for column, value in row.items():
        yield _safe(value, is_external=column in _EXTERNAL_COLUMNS) if isinstance(value, str) else value


def _safe(text: str, *, is_external: bool) -> str:
    """A cell that is safe to open in a spreadsheet, and can be read as a manifest again.

    Text from the service or its agent must not start like a formula: a spreadsheet would evaluate it, and it could send
    the neighbouring cells to some URL. An apostrophe makes it text. The user's own cells stay unchanged: they come from
    the user's own spreadsheet, and are read again when the rows are run again.
    """
    cleaned = _CONTROLS.sub("\ufffd", text)
    if is_external and cleaned.lstrip().startswith(_FORMULA_STARTS):
        cleaned = f"'{cleaned}"
    return cleaned if len(cleaned) <= _MAX_CELL_LENGTH else cleaned[: _MAX_CELL_LENGTH - 1] + "…"
