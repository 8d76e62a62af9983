"""Brings the finished file home: gathered beside its place, checked, and moved there in one step.

What was gathered stays for the next try, and whatever lies at the result's place stays until a whole file replaces it.
"""

import os
from dataclasses import dataclass

from reelq.errors import CannotWrite
from worker.desk import Desk, Job

_MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Downloaded:
    """A whole file, at its place."""

    size: int
    sha256: str


def download(job: Job, desk: Desk) -> Downloaded:
    """Fetch the export to the row's output."""

    def gone(count: int) -> None:
        desk.check()
        desk.say(f"downloading, {count / _MB:.1f} MB")

    try:
        job.result.parent.mkdir(parents=True, exist_ok=True)
        receipt = desk.remote.download(job.result_url, job.render_id, job.part, gone)
        os.replace(job.part, job.result)  # noqa: PTH105 - the call that is atomic, by its name
    except OSError as error:
        raise CannotWrite(f"{job.result.name} can't be written: {error.strerror}") from None
    return Downloaded(receipt.size, receipt.sha256)
