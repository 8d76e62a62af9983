"""Brings the finished file home: gathered beside its place, checked, and moved there in one step.

What was gathered stays for the next try, and whatever lies at the result's place stays until a whole file replaces it.
A row that is the same as another takes that one's file, where that is still as it was.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from reelq.errors import CannotWrite
from worker.desk import Desk, Finished, Job

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A whole file, at its place."""

    size: int
    sha256: str


def download(job: Job, desk: Desk) -> Downloaded:
    """Take the same row's result, or fetch the export, to the row's output."""
    try:
        job.result.parent.mkdir(parents=True, exist_ok=True)
        got = _take(job, desk.same_result(), desk) or _fetch(job, desk)
        os.replace(job.part, job.result)  # noqa: PTH105 - the call that is atomic, by its name
    except OSError as error:
        raise CannotWrite(f"{job.result.name} can't be written: {error.strerror}") from None
    return got


def _fetch(job: Job, desk: Desk) -> Downloaded:
    def gone(count: int) -> None:
        desk.check()
        desk.say(f"downloading, {count / _MB:.1f} MB")

    receipt = desk.remote.download(job.result_url, job.render_id, job.part, gone)
    return Downloaded(receipt.size, receipt.sha256)


def _take(job: Job, same: Finished | None, desk: Desk) -> Downloaded | None:
    """The other row's file beside this one's place; None where it is not there, or not what it was."""
    if same is None or not _is_there(same):
        return None
    try:
        job.part.unlink(missing_ok=True)
        _link_or_copy(same.path, job.part)
        with job.part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    if sha256 != same.sha256:
        job.part.unlink()
        return None
    desk.say(f"taken from {same.path}")
    return Downloaded(same.size, sha256)


def _is_there(same: Finished) -> bool:
    try:
        return same.path.stat().st_size == same.size
    except OSError:
        return False


def _link_or_copy(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:  # another disk, or one that knows no links
        shutil.copyfile(source, place)
