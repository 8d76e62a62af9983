"""Brings the finished file home: gathered beside its place, checked, and moved there in one step.

What was gathered stays for the next try, and whatever lies at the result's place stays until a whole file replaces it.
Its place is the row's output below the batch's folder, or in storage, by its contents.
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
    desk.close_costs()  # mostly it is known by now what the edit cost
    try:
        part = _part(job, desk)
        got = _take(job, part, desk) or _fetch(job, part, desk)
        if job.result:
            os.replace(part, job.result)  # noqa: PTH105 - the call that is atomic, by its name
        else:
            desk.storage.adopt(part, got.sha256)
    except OSError as error:
        raise CannotWrite(f"{(job.result or Path(job.output)).name} can't be written: {error.strerror}") from None
    return got


def _part(job: Job, desk: Desk) -> Path:
    """Where the result is gathered until it is whole."""
    if job.part is None:
        return desk.storage.scratch(f"{job.id}.{job.render_id}", job.run)
    job.part.parent.mkdir(parents=True, exist_ok=True)
    return job.part


def _fetch(job: Job, part: Path, desk: Desk) -> Downloaded:
    def gone(count: int) -> None:
        desk.check()
        desk.progress(f"downloading, {count / _MB:.1f} MB")

    receipt = desk.remote.download(job.result_url, job.render_id, part, gone)
    return Downloaded(receipt.size, receipt.sha256)


def _take(job: Job, part: Path, desk: Desk) -> Downloaded | None:
    """The other row's file beside this one's place; None where it is not there, or not what it was."""
    same = desk.same_result() if job.takes_a_result else None
    source = _found(same, desk) if same else None
    if same is None or source is None:
        return None
    try:
        part.unlink(missing_ok=True)
        # What is in storage may not change with a file that is a person's own, nor that with it.
        _bring(source, part, may_link=(job.result is None) == (same.path is None))
        with part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    if sha256 != same.sha256:
        part.unlink()
        return None
    desk.say(f"taken from {source if job.result and same.path else 'an equal row'}")
    return Downloaded(same.size, sha256)


def _found(same: Finished, desk: Desk) -> Path | None:
    try:
        path = same.path or desk.storage.path(same.sha256)
        return path if path.stat().st_size == same.size else None
    except OSError:
        return None


def _bring(source: Path, place: Path, *, may_link: bool) -> None:
    if may_link:
        try:
            os.link(source, place)
        except OSError:  # another disk, or one that knows no links
            pass
        else:
            return
    shutil.copyfile(source, place)
