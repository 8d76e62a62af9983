"""Downloads the finished file to a part file, checks it, and moves it to its place in one atomic step.

If a download breaks off, the part file stays for the next attempt. A file that is already at the result's place stays
until a complete one replaces it. That place is the row's output path in the batch's folder, or in storage, where files
are named by their hash. A row that does the same as another row reuses its file, if that is still unchanged.
"""

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reelq.errors import CannotWrite
from reelq.job import ClaimedJob
from worker.context import Receipt, StageContext

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Downloaded(Receipt):
    """The complete file is at its place."""

    name: str
    size: int
    sha256: str

    @property
    def message(self) -> str:
        return f"{self.name}, {self.size / _MB:.1f} MB"

    @property
    def columns(self) -> dict[str, Any]:
        return {"result_path": self.name, "result_size": self.size, "result_sha256": self.sha256}


def download(job: ClaimedJob, context: StageContext) -> Downloaded:
    """Bring the result to the row's output: reuse the file of an identical row, or download the export."""
    context.close_costs()  # usually a no-op, as the cost of the edit is known by now
    try:
        part = _part(job, context)
        downloaded = _reuse(job, part, context) or _fetch(job, part, context)
        if job.result:
            os.replace(part, job.result)  # noqa: PTH105 - the atomic call, by its own name
        else:
            context.storage.adopt(part, downloaded.sha256)
    except OSError as error:
        raise CannotWrite(f"{(job.result or Path(job.output)).name} can't be written: {error.strerror}") from None
    return downloaded


def _part(job: ClaimedJob, context: StageContext) -> Path:
    """Return the path of the part file."""
    if job.part is None:
        return context.storage.scratch(f"{job.id}.{job.remote_render_id}", job.run)
    job.part.parent.mkdir(parents=True, exist_ok=True)
    return job.part


def _fetch(job: ClaimedJob, part: Path, context: StageContext) -> Downloaded:
    def on_progress(count: int) -> None:
        context.check()
        context.progress(f"downloading, {count / _MB:.1f} MB")

    receipt = context.remote.download(job.result_url, job.remote_render_id, part, on_progress)
    return Downloaded(job.output, receipt.size, receipt.sha256)


def _reuse(job: ClaimedJob, part: Path, context: StageContext) -> Downloaded | None:
    """Copy or link the other row's file to the part file. Return None if it is missing or has changed."""
    same = context.same_result() if job.takes_a_result else None
    source = None
    if same:
        with suppress(OSError):  # a file that can't be looked up is downloaded
            source = same.found(context.storage)
    if same is None or source is None:
        return None
    try:
        part.unlink(missing_ok=True)
        # Never link between storage and a user's folder: a change of one file would change the other.
        _link_or_copy(source, part, may_link=(job.result is None) == (same.path is None))
        with part.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
    if sha256 != same.sha256:
        part.unlink()
        return None
    context.say(f"reused {source if job.result and same.path else 'the result of an identical row'}")
    return Downloaded(job.output, same.size, sha256)


def _link_or_copy(source: Path, target: Path, *, may_link: bool) -> None:
    if may_link:
        try:
            os.link(source, target)
        except OSError:  # another disk, or one without hard links
            pass
        else:
            return
    shutil.copyfile(source, target)
