"""Polls an export once. Between polls the job waits in the database and takes up no worker.

`render_poller` makes most polls, for many rows at once and without Celery tasks. This stage runs when such a poll finds
anything but an unfinished export. Polling only reads. An export that the service has forgotten is submitted again under
its own id. One that fails or never finishes is given up and tried once more under a new id.
"""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from reelq.errors import RemoteError, RenderFailed, RenderStuck, RenderUnknown, RowFailed
from reelq.nemo.types import Progress, RenderStatus
from worker.context import Job, NotYet, Receipt, StageContext
from worker.stages.render import submit

_RENDERS: Final = 2
"""The service's own client retries a failed export once, and so does this stage."""


@dataclass(frozen=True, slots=True)
class Polled(Receipt):
    """The export is done and can be downloaded from this URL."""

    url: str

    @property
    def message(self) -> str:
        return "rendered"

    @property
    def columns(self) -> dict[str, Any]:
        return {"result_url": self.url}


def poll(job: Job, desk: StageContext) -> Polled | NotYet:
    """Poll the export once, unless an earlier poll has found it done."""
    if job.result_url:
        return Polled(job.result_url)
    progress = _progress(job, desk)
    if progress and progress.status is RenderStatus.DONE:
        return Polled(progress.url)
    if progress and progress.status is RenderStatus.FAILED:
        why = progress.reason or "no reason given"
        return _export_again(job, desk, f"the export failed ({why})", RenderFailed(f"The export failed twice: {why}"))
    if job.looks >= desk.settings.reelq_poll_limit:
        with suppress(RemoteError):
            desk.remote.cancel_render(job.render_id)
        return _export_again(job, desk, "the export did not finish", RenderStuck())
    if progress is None:
        submit(job, desk, job.render_id)
        message = "the service has forgotten the export; it was submitted again"
        return NotYet(desk.settings.reelq_poll_interval, message)
    return NotYet(desk.settings.reelq_poll_interval, unfinished(progress))


def unfinished(progress: Progress) -> str:
    """Return the message about an export that is not done yet."""
    return "rendering" if progress.percent is None else f"rendering, {progress.percent} %"


def _progress(job: Job, desk: StageContext) -> Progress | None:
    """Return the export's progress, or None if the service does not know the export."""
    try:
        return desk.remote.progress(job.render_id)
    except RenderUnknown:
        return None


def _export_again(job: Job, desk: StageContext, message: str, final_error: RowFailed) -> NotYet:
    """Submit a second export in place of this one, or raise `final_error` if this was the second."""
    if job.renders >= _RENDERS:
        raise final_error
    submit(job, desk, "")
    return NotYet(desk.settings.reelq_poll_interval, f"{message}; started a second one", anew=True)
